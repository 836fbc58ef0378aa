/* CFArray and CFDictionary. */
#include "fake.h"

extern const char kCFTypeArrayCallBacks[], kCFTypeDictionaryKeyCallBacks[], kCFTypeDictionaryValueCallBacks[];

typedef struct {
    long location, length;
} Range;

static Object *fresh(Type type, const void *allocator, bool borrows) {
    if (allocator) die("another allocator than the default");
    Object *object = make(type);
    object->is_mutable = true;
    object->borrows = borrows;
    return object;
}

static bool array_borrows(const void *callbacks) {
    if (callbacks && callbacks != kCFTypeArrayCallBacks) die("callbacks that are not CoreFoundation's");
    return !callbacks;
}

static bool dictionary_borrows(const void *keys, const void *values) {
    bool standard = keys == kCFTypeDictionaryKeyCallBacks && values == kCFTypeDictionaryValueCallBacks;
    if (!standard && (keys || values)) die("callbacks that are not CoreFoundation's");
    return !standard;
}

static Object *changed(void *reference, Type type) {
    Object *object = checked(reference, type);
    if (!object->is_mutable) die("the %s is not mutable", type_name(type));
    return object;
}

/* The elements are shared, as in CoreFoundation. */
static Object *mutable_copy(const void *allocator, Object *original) {
    Object *copy = fresh(original->type, allocator, original->borrows);
    for (size_t i = 0; i < original->count; i++) append(copy, original->items[i]);
    return own(copy);
}

long CFArrayGetCount(const void *reference) {
    CALL;
    return (long)checked(reference, ARRAY)->count;
}

const void *CFArrayGetValueAtIndex(const void *reference, long index) {
    CALL;
    Object *array = checked(reference, ARRAY);
    if (index < 0 || (size_t)index >= array->count) die("index %ld of %zu", index, array->count);
    return array->items[index];
}

void CFArrayGetValues(const void *reference, Range range, const void **values) {
    CALL;
    Object *array = checked(reference, ARRAY);
    long count = (long)array->count;
    if (range.location < 0 || range.length < 0 || range.location > count || range.length > count - range.location) {
        die("%ld elements from %ld of %ld", range.length, range.location, count);
    }
    if (!values) die("NULL for the values");
    for (long i = 0; i < range.length; i++) values[i] = array->items[range.location + i];
}

const void *CFArrayCreate(const void *allocator, const void **values, long count, const void *callbacks) {
    CALL;
    Object *array = fresh(ARRAY, allocator, array_borrows(callbacks));
    for (long i = 0; i < count; i++) append(array, checked(values[i], ANY));
    array->is_mutable = false;
    return own(array);
}

void *CFArrayCreateMutable(const void *allocator, long capacity, const void *callbacks) {
    CALL;
    (void)capacity;
    return own(fresh(ARRAY, allocator, array_borrows(callbacks)));
}

void *CFArrayCreateMutableCopy(const void *allocator, long capacity, const void *reference) {
    CALL;
    (void)capacity;
    return mutable_copy(allocator, checked(reference, ARRAY));
}

void CFArrayAppendValue(void *reference, const void *value) {
    CALL;
    append(changed(reference, ARRAY), checked(value, ANY));
}

long CFDictionaryGetCount(const void *reference) {
    CALL;
    return (long)checked(reference, DICTIONARY)->count / 2;
}

const void *CFDictionaryGetValue(const void *reference, const void *key) {
    CALL;
    return find(checked(reference, DICTIONARY), checked(key, ANY));
}

void CFDictionaryGetKeysAndValues(const void *reference, const void **keys, const void **values) {
    CALL;
    Object *dictionary = checked(reference, DICTIONARY);
    for (size_t i = 0; i < dictionary->count / 2; i++) {
        if (keys) keys[i] = dictionary->items[2 * i];
        if (values) values[i] = dictionary->items[2 * i + 1];
    }
}

const void *CFDictionaryCreate(const void *allocator, const void **keys, const void **values, long count,
                               const void *key_callbacks, const void *value_callbacks) {
    CALL;
    Object *dictionary = fresh(DICTIONARY, allocator, dictionary_borrows(key_callbacks, value_callbacks));
    for (long i = 0; i < count; i++) set(dictionary, checked(keys[i], ANY), checked(values[i], ANY));
    dictionary->is_mutable = false;
    return own(dictionary);
}

void *CFDictionaryCreateMutable(const void *allocator, long capacity, const void *keys, const void *values) {
    CALL;
    (void)capacity;
    return own(fresh(DICTIONARY, allocator, dictionary_borrows(keys, values)));
}

void *CFDictionaryCreateMutableCopy(const void *allocator, long capacity, const void *reference) {
    CALL;
    (void)capacity;
    return mutable_copy(allocator, checked(reference, DICTIONARY));
}

void CFDictionarySetValue(void *reference, const void *key, const void *value) {
    CALL;
    set(changed(reference, DICTIONARY), checked(key, ANY), checked(value, ANY));
}
