/* CoreFoundation. */
#include "fake.h"

#include <math.h>
#include <string.h>

#define UTF8 0x08000100u
#define ASCII 0x0600u

/* Only their addresses matter. */
const struct {
    void *members[6];
} kCFTypeArrayCallBacks, kCFTypeDictionaryKeyCallBacks, kCFTypeDictionaryValueCallBacks;
const void *kCFAllocatorDefault = NULL;

static void default_allocator(const void *allocator) {
    if (allocator) die("another allocator than the default");
}

const void *CFRetain(const void *reference) {
    CALL;
    return own(checked(reference, ANY));
}

void CFRelease(const void *reference) {
    CALL;
    disown(checked(reference, ANY));
}

unsigned long CFGetTypeID(const void *reference) {
    CALL;
    return 0x100 + checked(reference, ANY)->type;
}

unsigned long CFStringGetTypeID(void) { return 0x100 + STRING; }
unsigned long CFNumberGetTypeID(void) { return 0x100 + NUMBER; }
unsigned long CFBooleanGetTypeID(void) { return 0x100 + BOOLEAN; }
unsigned long CFDataGetTypeID(void) { return 0x100 + DATA; }
unsigned long CFArrayGetTypeID(void) { return 0x100 + ARRAY; }
unsigned long CFDictionaryGetTypeID(void) { return 0x100 + DICTIONARY; }

const void *CFStringCreateWithCString(const void *allocator, const char *text, uint32_t encoding) {
    CALL;
    default_allocator(allocator);
    if (!text) die("NULL for a text");
    if (encoding != UTF8 && encoding != ASCII) die("encoding %#x", encoding);
    if (utf16_units((const uint8_t *)text, strlen(text)) < 0) return NULL;
    return own(string_of(text));
}

/* Allowed to be NULL for any string, and it is. */
const char *CFStringGetCStringPtr(const void *reference, uint32_t encoding) {
    CALL;
    checked(reference, STRING);
    if (encoding != UTF8 && encoding != ASCII) die("encoding %#x", encoding);
    return NULL;
}

unsigned char CFStringGetCString(const void *reference, char *buffer, long size, uint32_t encoding) {
    CALL;
    Object *string = checked(reference, STRING);
    if (!buffer) die("NULL for a buffer");
    if (encoding != UTF8) die("encoding %#x", encoding);
    if (size < 1 || string->count >= (size_t)size) return false;
    memcpy(buffer, string->bytes, string->count + 1);
    return true;
}

long CFStringGetLength(const void *reference) {
    CALL;
    Object *string = checked(reference, STRING);
    return utf16_units(string->bytes, string->count);
}

unsigned char CFBooleanGetValue(const void *reference) {
    CALL;
    return checked(reference, BOOLEAN)->integer != 0;
}

long CFDataGetLength(const void *reference) {
    CALL;
    return (long)checked(reference, DATA)->count;
}

const uint8_t *CFDataGetBytePtr(const void *reference) {
    CALL;
    return checked(reference, DATA)->bytes;
}

static int number_bits(long type, bool *is_float) {
    static const int bits[] = {0, 8, 16, 32, 64, -32, -64, 8, 16, 32, 64, 64, -32, -64, 64, 64, -64};
    if (type < 1 || type > 16) die("number type %ld", type);
    *is_float = bits[type] < 0;
    return *is_float ? -bits[type] : bits[type];
}

const void *CFNumberCreate(const void *allocator, long type, const void *value) {
    CALL;
    default_allocator(allocator);
    bool is_float;
    int bits = number_bits(type, &is_float);
    if (!value) die("NULL for a value");
    if (is_float) return own(real_of(bits == 64 ? *(const double *)value : (double)*(const float *)value));
    switch (bits) {
    case 8:
        return own(integer_of(*(const int8_t *)value));
    case 16:
        return own(integer_of(*(const int16_t *)value));
    case 32:
        return own(integer_of(*(const int32_t *)value));
    default:
        return own(integer_of(*(const int64_t *)value));
    }
}

unsigned char CFNumberIsFloatType(const void *reference) {
    CALL;
    return checked(reference, NUMBER)->is_float;
}

long CFNumberGetType(const void *reference) {
    CALL;
    return checked(reference, NUMBER)->is_float ? 6 : 4;
}

/* Writes a value in any case; false says that it is not the number's own. */
unsigned char CFNumberGetValue(const void *reference, long type, void *value) {
    CALL;
    Object *number = checked(reference, NUMBER);
    bool is_float;
    int bits = number_bits(type, &is_float);
    if (!value) die("NULL for a value");
    if (is_float) {
        double real = number->is_float ? number->real : (double)number->integer;
        bool exact = number->is_float || (fabs(real) < 0x1p63 && (int64_t)real == number->integer);
        if (bits == 64) {
            *(double *)value = real;
            return exact;
        }
        *(float *)value = (float)real;
        return exact && ((double)(float)real == real || isnan(real));
    }
    bool fits = !number->is_float || (number->real >= -0x1p63 && number->real < 0x1p63);
    int64_t integer = !number->is_float ? number->integer : fits ? (int64_t)number->real : 0;
    bool exact = fits && (!number->is_float || (double)integer == number->real);
    int shift = 64 - bits;
    memcpy(value, &integer, (size_t)bits / 8);
    return exact && (int64_t)((uint64_t)integer << shift) >> shift == integer;
}
