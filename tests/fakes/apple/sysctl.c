/* sysctl by name and by number. */
#include "fake.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int answer(const Object *value, void *buffer, size_t *size, const void *replacement, size_t replacement_size) {
    if (replacement || replacement_size) die("it writes");
    if (!value) {
        errno = ENOENT;
        return -1;
    }
    if (!size) die("NULL for a size");
    size_t room = *size;
    *size = value->count;
    if (!buffer) return 0;
    memcpy(buffer, value->bytes, room < value->count ? room : value->count);
    if (room >= value->count) return 0;
    *size = room;
    errno = ENOMEM;
    return -1;
}

int sysctlbyname(const char *name, void *buffer, size_t *size, const void *replacement, size_t replacement_size) {
    CALL;
    if (!name) die("NULL for a name");
    return answer(get_as(part("sysctls"), name, DATA), buffer, size, replacement, replacement_size);
}

int sysctl(const int *name, unsigned count, void *buffer, size_t *size, const void *replacement,
           size_t replacement_size) {
    CALL;
    if (!name || count < 1 || count > 12) die("%u numbers", count);
    char text[12 * 12];
    int end = 0;
    for (unsigned i = 0; i < count; i++) end += sprintf(text + end, i ? ".%d" : "%d", name[i]);
    return answer(get_as(part("numbers"), text, DATA), buffer, size, replacement, replacement_size);
}
