/* The IORegistry's entries, and the numbers by which a program holds them. */
#include "fake.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_HANDLE 0x1507u

typedef struct {
    uint64_t id;
    Object *node;
} Indexed;

static Indexed *nodes;
static size_t node_count;
/* The handles that are held. A number is never given twice, so that one that was released stays wrong. */
static Handle *handles;
static size_t handle_count;
static uint32_t next_number = FIRST_HANDLE;

uint32_t new_handle(HandleKind kind, uint64_t id, Object *list) {
    handles = realloc(handles, (handle_count + 1) * sizeof *handles);
    if (!handles) die("out of memory");
    handles[handle_count++] = (Handle){next_number, kind, list ? hold(list) : NULL, id};
    live_handles++;
    return next_number++;
}

Handle *handle(uint32_t number, HandleKind kind) {
    static const char *const names[] = {"", "registry entry", "iterator", "connection"};
    for (size_t i = 0; i < handle_count; i++) {
        Handle *found = &handles[i];
        if (found->number != number) continue;
        if (kind && found->kind != kind) die("%#x is a %s, not a %s", number, names[found->kind], names[kind]);
        return found;
    }
    bool given = number >= FIRST_HANDLE && number < next_number;
    die(given ? "%#x was released" : "%#x was never given", number);
}

void close_handle(uint32_t number) {
    Handle *closed = handle(number, 0);
    if (closed->list) drop(closed->list);
    *closed = handles[--handle_count];
    live_handles--;
}

static void index_node(Object *node) {
    nodes = realloc(nodes, (node_count + 1) * sizeof *nodes);
    if (!nodes) die("out of memory");
    nodes[node_count++] = (Indexed){(uint64_t)get_integer(node, "id"), node};
    Object *children = get_as(node, "children", ARRAY);
    for (size_t i = 0; i < children->count; i++) index_node(children->items[i]);
}

void index_registry(void) {
    node_count = 0;
    Object *roots = part("nodes");
    for (size_t i = 0; i < roots->count; i++) index_node(roots->items[i]);
}

Object *node_of(uint64_t id) {
    for (size_t i = 0; i < node_count; i++) {
        if (nodes[i].id == id) return nodes[i].node;
    }
    return NULL;
}

bool has_class(const Object *node, const char *class_name) {
    if (is_text(get(node, "class"), class_name)) return true;
    Object *superclasses = get_as(node, "superclasses", ARRAY);
    for (size_t i = 0; i < superclasses->count; i++) {
        if (is_text(superclasses->items[i], class_name)) return true;
    }
    return false;
}

static bool matches(const Object *node, const Object *class_name, const Object *name) {
    if (!is_text(get(node, "plane"), "IOService") || get(node, "registered") != boolean_objects[true]) return false;
    if (class_name && !has_class(node, text_of(class_name))) return false;
    return !name || equal(get(node, "name"), name);
}

/* Registry ids of the services that a matching dictionary asks for. */
Object *matching_services(const Object *matching) {
    Object *class_name = get_as(matching, "IOProviderClass", STRING), *name = get_as(matching, "IONameMatch", STRING);
    if (!class_name && !name) die("the dictionary asks for nothing");
    Object *ids = make(ARRAY);
    for (size_t i = 0; i < node_count; i++) {
        if (matches(nodes[i].node, class_name, name)) append(ids, integer_of((int64_t)nodes[i].id));
    }
    return ids;
}

/* The entry at IOPlane:/name/name, or NULL. */
Object *node_at(const char *path) {
    const char *colon = strchr(path, ':');
    if (!colon || colon[1] != '/') return NULL;
    Object *found = NULL, *level = part("nodes");
    const char *rest = colon + 1;
    while (*rest == '/' && rest[1]) {
        size_t length = strcspn(++rest, "/");
        found = NULL;
        for (size_t i = 0; i < level->count && !found; i++) {
            Object *node = level->items[i], *name = get(node, "name"), *plane = get(node, "plane");
            bool named = name->count == length && !memcmp(name->bytes, rest, length);
            bool in_plane = plane->count == (size_t)(colon - path) && !memcmp(plane->bytes, path, plane->count);
            if (named && in_plane) found = node;
        }
        if (!found) return NULL;
        level = get(found, "children");
        rest += length;
    }
    return found;
}
