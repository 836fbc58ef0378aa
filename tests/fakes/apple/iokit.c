/* IOKit: the registry. */
#include "fake.h"

#include <string.h>

#define NAME_SIZE 128

Object *matching_services(const Object *matching);
Object *node_at(const char *path);

static void *matching(const char *key, const char *value) {
    if (!value) die("NULL for a name");
    Object *dictionary = make(DICTIONARY);
    dictionary->is_mutable = true;
    put(dictionary, key, string_of(value));
    return own(dictionary);
}

void *IOServiceMatching(const char *name) {
    CALL;
    return matching("IOProviderClass", name);
}

void *IOServiceNameMatching(const char *name) {
    CALL;
    return matching("IONameMatch", name);
}

/* Takes the caller's reference to the dictionary. */
static Object *found_services(uint32_t port, void *reference) {
    if (port) die("port %#x is not the default port", port);
    Object *dictionary = checked(reference, DICTIONARY), *ids = hold(matching_services(dictionary));
    disown(dictionary);
    return ids;
}

uint32_t IOServiceGetMatchingServices(uint32_t port, void *reference, uint32_t *iterator) {
    CALL;
    if (!iterator) die("NULL for an iterator");
    Object *ids = found_services(port, reference);
    *iterator = new_handle(ITERATOR, 0, ids);
    drop(ids);
    return KERN_SUCCESS;
}

uint32_t IOServiceGetMatchingService(uint32_t port, void *reference) {
    CALL;
    Object *ids = found_services(port, reference);
    uint32_t number = ids->count ? new_handle(ENTRY, (uint64_t)ids->items[0]->integer, NULL) : 0;
    drop(ids);
    return number;
}

uint32_t IOIteratorNext(uint32_t number) {
    CALL;
    Handle *iterator = handle(number, ITERATOR);
    if (iterator->id >= iterator->list->count) return 0;
    return new_handle(ENTRY, (uint64_t)iterator->list->items[iterator->id++]->integer, NULL);
}

uint32_t IOObjectRelease(uint32_t number) {
    CALL;
    if (handle(number, 0)->kind == CONNECTION) die("a connection is closed, not released");
    close_handle(number);
    return KERN_SUCCESS;
}

/* NULL where the entry went away while the program held it. */
static Object *entry(uint32_t number) { return node_of(handle(number, ENTRY)->id); }

static uint32_t copy_text(uint32_t number, const char *key, char *buffer) {
    Object *node = entry(number);
    if (!buffer) die("NULL for a buffer");
    if (!node) return IO_NOT_FOUND;
    memset(buffer, 0, NAME_SIZE);
    strncpy(buffer, text_of(get(node, key)), NAME_SIZE - 1);
    return KERN_SUCCESS;
}

uint32_t IORegistryEntryGetName(uint32_t number, char *name) {
    CALL;
    return copy_text(number, "name", name);
}

uint32_t IOObjectGetClass(uint32_t number, char *name) {
    CALL;
    return copy_text(number, "class", name);
}

uint32_t IORegistryEntryGetRegistryEntryID(uint32_t number, uint64_t *id) {
    CALL;
    if (!id) die("NULL for an id");
    if (!entry(number)) return IO_NOT_FOUND;
    *id = handle(number, ENTRY)->id;
    return KERN_SUCCESS;
}

const void *IORegistryEntryCreateCFProperty(uint32_t number, const void *key, const void *allocator, uint32_t options) {
    CALL;
    if (allocator || options) die("another allocator or options than none");
    Object *node = entry(number), *name = checked(key, STRING);
    Object *value = node ? find(get(node, "properties"), name) : NULL;
    return value ? own(copy_of(value)) : NULL;
}

uint32_t IORegistryEntryCreateCFProperties(uint32_t number, void **properties, const void *allocator,
                                           uint32_t options) {
    CALL;
    if (allocator || options) die("another allocator or options than none");
    if (!properties) die("NULL for the properties");
    Object *node = entry(number);
    if (!node) return IO_NOT_FOUND;
    Object *copy = copy_of(get(node, "properties"));
    copy->is_mutable = true;
    *properties = own(copy);
    return KERN_SUCCESS;
}

uint32_t IORegistryEntryGetChildIterator(uint32_t number, const char *plane, uint32_t *iterator) {
    CALL;
    if (!plane || !iterator) die("NULL for a plane or an iterator");
    Object *node = entry(number);
    if (!node) return IO_NOT_FOUND;
    Object *children = get(node, "children"), *ids = hold(make(ARRAY));
    for (size_t i = 0; i < children->count; i++) {
        Object *child = children->items[i];
        if (is_text(get(child, "plane"), plane)) append(ids, integer_of(get_integer(child, "id")));
    }
    *iterator = new_handle(ITERATOR, 0, ids);
    drop(ids);
    return KERN_SUCCESS;
}

uint32_t IORegistryEntryFromPath(uint32_t port, const char *path) {
    CALL;
    if (port) die("port %#x is not the default port", port);
    if (!path) die("NULL for a path");
    Object *node = node_at(path);
    return node ? new_handle(ENTRY, (uint64_t)get_integer(node, "id"), NULL) : 0;
}

const void *IOPMCopyActivePMPreferences(void) {
    CALL;
    Object *preferences = part("power_preferences");
    return preferences ? own(copy_of(preferences)) : NULL;
}
