/* Strings, numbers, data, arrays and dictionaries, and how a Mac comes over from Python. */
#include "fake.h"

#include <string.h>

static void reserve(Object *object, size_t size) {
    if (object->capacity >= size) return;
    uint8_t *bytes = take(size);
    if (object->capacity) {
        memcpy(bytes, object->bytes, object->capacity);
        give_back(object->bytes, object->capacity);
    }
    object->bytes = bytes;
    object->capacity = size;
}

static Object *bytes_of(Type type, const void *bytes, size_t count) {
    Object *object = make(type);
    reserve(object, count + 1);
    memcpy(object->bytes, bytes, count);
    object->bytes[count] = 0;
    object->count = count;
    return object;
}

Object *string_of_bytes(const uint8_t *bytes, size_t count) { return bytes_of(STRING, bytes, count); }

Object *string_of(const char *text) { return bytes_of(STRING, text, strlen(text)); }

Object *data_of(const void *bytes, size_t count) { return bytes_of(DATA, bytes, count); }

Object *integer_of(int64_t value) {
    Object *number = make(NUMBER);
    number->integer = value;
    return number;
}

Object *real_of(double value) {
    Object *number = make(NUMBER);
    number->real = value;
    number->is_float = true;
    return number;
}

void append(Object *array, Object *item) {
    size_t needed = (array->count + 1) * sizeof(Object *);
    if (needed > array->capacity) reserve(array, 2 * needed);
    array->items[array->count++] = array->borrows ? item : hold(item);
}

static Object **slot(const Object *dictionary, const Object *key) {
    for (size_t i = 0; i < dictionary->count; i += 2) {
        Object *other = dictionary->items[i];
        if (dictionary->borrows ? other == key : equal(other, key)) return &dictionary->items[i + 1];
    }
    return NULL;
}

void set(Object *dictionary, Object *key, Object *value) {
    Object **known = slot(dictionary, key);
    if (!known) {
        append(dictionary, key);
        append(dictionary, value);
        return;
    }
    Object *before = *known;
    *known = dictionary->borrows ? value : hold(value);
    if (!dictionary->borrows) drop(before);
}

void put(Object *dictionary, const char *key, Object *value) { set(dictionary, string_of(key), value); }

Object *find(const Object *dictionary, const Object *key) {
    Object **known = slot(dictionary, key);
    return known ? *known : NULL;
}

Object *get(const Object *dictionary, const char *key) {
    for (size_t i = 0; i < dictionary->count; i += 2) {
        if (is_text(dictionary->items[i], key)) return dictionary->items[i + 1];
    }
    return NULL;
}

Object *get_as(const Object *dictionary, const char *key, Type type) {
    Object *value = get(dictionary, key);
    return value && value->type == type ? value : NULL;
}

int64_t get_integer(const Object *dictionary, const char *key) {
    Object *value = get_as(dictionary, key, NUMBER);
    return value ? value->integer : 0;
}

bool is_text(const Object *object, const char *text) {
    if (!object || object->type != STRING) return false;
    return object->count == strlen(text) && !memcmp(object->bytes, text, object->count);
}

const char *text_of(const Object *string) { return (const char *)string->bytes; }

bool equal(const Object *a, const Object *b) {
    if (a == b) return true;
    if (!a || !b || a->type != b->type) return false;
    if (a->type == STRING || a->type == DATA) return a->count == b->count && !memcmp(a->bytes, b->bytes, a->count);
    if (a->type != NUMBER) return false;
    if (a->is_float || b->is_float) {
        return (a->is_float ? a->real : (double)a->integer) == (b->is_float ? b->real : (double)b->integer);
    }
    return a->integer == b->integer;
}

/* A copy down to the last element, so that nothing of the original keeps a stale pointer working. */
Object *copy_of(const Object *object) {
    switch (object->type) {
    case BOOLEAN:
        return (Object *)object;
    case NUMBER:
        return object->is_float ? real_of(object->real) : integer_of(object->integer);
    case STRING:
    case DATA:
        return bytes_of(object->type, object->bytes, object->count);
    default: {
        Object *copy = make(object->type);
        for (size_t i = 0; i < object->count; i++) append(copy, copy_of(object->items[i]));
        return copy;
    }
    }
}

/* UTF-16 code units of UTF-8 text, -1 where it is none. */
long utf16_units(const uint8_t *bytes, size_t count) {
    long units = 0;
    for (size_t i = 0; i < count;) {
        uint8_t first = bytes[i];
        size_t length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
        if ((first >= 0x80 && first < 0xC2) || first > 0xF4) return -1;
        if (i + length > count) return -1;
        for (size_t k = 1; k < length; k++) {
            if ((bytes[i + k] & 0xC0) != 0x80) return -1;
        }
        units += length == 4 ? 2 : 1;
        i += length;
    }
    return units;
}

typedef struct {
    const uint8_t *next, *end;
} Reader;

static const uint8_t *read_bytes(Reader *reader, size_t count) {
    if (count > (size_t)(reader->end - reader->next)) die("the machine ends early");
    const uint8_t *bytes = reader->next;
    reader->next += count;
    return bytes;
}

static uint32_t read_count(Reader *reader) {
    uint32_t count;
    memcpy(&count, read_bytes(reader, sizeof count), sizeof count);
    return count;
}

static Object *read_object(Reader *reader) {
    uint8_t tag = *read_bytes(reader, 1);
    uint32_t count;
    Object *object;
    switch (tag) {
    case 't':
    case 'f':
        return boolean_objects[tag == 't'];
    case 'i':
        object = integer_of(0);
        memcpy(&object->integer, read_bytes(reader, 8), 8);
        return object;
    case 'd':
        object = real_of(0);
        memcpy(&object->real, read_bytes(reader, 8), 8);
        return object;
    case 's':
    case 'b':
        count = read_count(reader);
        return bytes_of(tag == 's' ? STRING : DATA, read_bytes(reader, count), count);
    case 'a':
    case 'm':
        object = make(tag == 'a' ? ARRAY : DICTIONARY);
        count = read_count(reader);
        for (uint32_t i = 0; i < count * (tag == 'a' ? 1 : 2); i++) append(object, read_object(reader));
        return object;
    default:
        die("the machine has a tag %d", tag);
    }
}

/* What control.py encoded. */
Object *decode(const uint8_t *data, size_t length) {
    Reader reader = {data, data + length};
    return read_object(&reader);
}
