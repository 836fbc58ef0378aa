/* Memory that never lies about what was freed, references, and the end of a program that does something wrong. */
#define _GNU_SOURCE
#include "fake.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ALIVE 0x41504c45464f424aULL
#define POISON 0xDD
#define ARENA_SIZE (8ULL << 30)
/* Low halves have the top bit set: a pointer cut to an int is negative, and never the address of anything. */
#define ARENA_HINT ((void *)0x00003A0080000000ULL)
/* Freed memory is used again only when there is this much of its size, so that a stale pointer meets poison. */
#define QUARANTINE (512ULL << 10)
/* What quarantines come to. It is resident from the start: who measures a program's memory must not see them fill. */
#define RESIDENT (12ULL << 20)

typedef struct Block {
    struct Block *next;
} Block;

static uint8_t *arena, *arena_next;
static struct {
    Block *first, *last;
    size_t count;
} freed[48];
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static const char *current = NULL;
static int64_t live_references = 0;
static Object *booleans[2];

int64_t live_handles = 0;
Object *const *const boolean_objects = booleans;
const void *kCFBooleanFalse, *kCFBooleanTrue;

const char *enter(const char *function) {
    pthread_mutex_lock(&lock);
    const char *outer = current;
    current = outer ? outer : function;
    return outer;
}

void leave(const char **outer) {
    current = *outer;
    pthread_mutex_unlock(&lock);
}

void die(const char *why, ...) {
    va_list arguments;
    va_start(arguments, why);
    fprintf(stderr, "fake: %s: ", current ? current : "?");
    vfprintf(stderr, why, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}

const char *type_name(Type type) {
    static const char *const names[] = {
        "CFType",       "CFString",             "CFNumber",               "CFBoolean",          "CFData",    "CFArray",
        "CFDictionary", "IOReportSubscription", "IOHIDEventSystemClient", "IOHIDServiceClient", "IOHIDEvent",
    };
    return names[type];
}

__attribute__((constructor)) static void start(void) {
    arena = mmap(ARENA_HINT, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (arena == MAP_FAILED || (uintptr_t)arena < 1ULL << 32) die("no memory above 4 GiB");
    memset(arena, POISON, RESIDENT);
    arena_next = arena;
    for (int value = 0; value < 2; value++) {
        booleans[value] = hold(make(BOOLEAN));
        booleans[value]->integer = value;
    }
    kCFBooleanFalse = booleans[0];
    kCFBooleanTrue = booleans[1];
}

static int class_of(size_t size) {
    int class = 6;
    while (1ULL << class < size) class++;
    return class;
}

void *take(size_t size) {
    int class = class_of(size);
    if (freed[class].count << class > QUARANTINE) {
        Block *block = freed[class].first;
        freed[class].first = block->next;
        freed[class].count--;
        return memset(block, 0, 1ULL << class);
    }
    if (arena_next + (1ULL << class) > arena + ARENA_SIZE) die("out of memory");
    void *block = memset(arena_next, 0, 1ULL << class);
    arena_next += 1ULL << class;
    return block;
}

void give_back(void *memory, size_t size) {
    int class = class_of(size);
    Block *block = memset(memory, POISON, 1ULL << class);
    block->next = NULL;
    if (freed[class].count++) {
        freed[class].last->next = block;
    } else {
        freed[class].first = block;
    }
    freed[class].last = block;
}

Object *make(Type type) {
    Object *object = take(sizeof(Object));
    object->magic = ALIVE;
    object->type = type;
    return object;
}

Object *checked(const void *reference, Type wanted) {
    if (!reference) die("NULL for a %s", type_name(wanted));
    const uint8_t *address = reference;
    if (address < arena || address >= arena_next || (uintptr_t)address % 64) die("%p is no object", reference);
    Object *object = (Object *)reference;
    uint64_t poison;
    memset(&poison, POISON, sizeof poison);
    if (object->magic == poison) die("%p was freed", reference);
    if (object->magic != ALIVE) die("%p is no object", reference);
    if (wanted != ANY && object->type != wanted) {
        die("got a %s for a %s", type_name(object->type), type_name(wanted));
    }
    return object;
}

static void free_object(Object *object) {
    if (object->type == ARRAY || object->type == DICTIONARY || object->type == SUBSCRIPTION) {
        for (size_t i = 0; i < object->count && !object->borrows; i++) drop(object->items[i]);
    }
    if (object->type == HID_CLIENT) hid_client_is_gone();
    /* A subscription only knows where the dictionary of its channels was: keeping it is the client's part. */
    if (object->about && object->type != SUBSCRIPTION) drop(object->about);
    if (object->capacity) give_back(object->bytes, object->capacity);
    give_back(object, sizeof(Object));
}

static void free_if_unreferenced(Object *object) {
    if (!object->owned && !object->held) free_object(object);
}

Object *own(Object *object) {
    object->owned++;
    live_references++;
    return object;
}

void disown(Object *object) {
    if (!object->owned) die("over-release: the caller owns no reference to this %s", type_name(object->type));
    object->owned--;
    live_references--;
    free_if_unreferenced(object);
}

Object *hold(Object *object) {
    object->held++;
    return object;
}

void drop(Object *object) {
    if (!checked(object, ANY)->held) die("the fake itself dropped too much");
    object->held--;
    free_if_unreferenced(object);
}

int64_t fake_live_objects(void) {
    CALL;
    return live_references;
}

int64_t fake_live_handles(void) {
    CALL;
    return live_handles;
}
