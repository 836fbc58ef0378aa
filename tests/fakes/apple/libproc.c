/* libproc. */
#include "fake.h"

#include <errno.h>
#include <string.h>

#define ALL_PIDS 1

static int fail(int code) {
    errno = code;
    return -1;
}

/* The kernel writes the whole structure of that flavor, however much room there is. */
int proc_pid_rusage(int pid, int flavor, void *buffer) {
    CALL;
    if (!buffer) die("NULL for a struct");
    Object *structs = part("rusage"), *processes = part("processes");
    /* By flavor: how much of the newest struct an older one has, 0 where the kernel does not know it. */
    size_t size = flavor >= 0 && (size_t)flavor < structs->count ? (size_t)structs->items[flavor]->integer : 0;
    if (!size) return fail(EINVAL);
    for (size_t i = 0; i < processes->count; i++) {
        Object *process = processes->items[i];
        if (get_integer(process, "pid") != pid) continue;
        if (get_integer(process, "errno")) return fail((int)get_integer(process, "errno"));
        memcpy(buffer, get(process, "usage")->bytes, size);
        return 0;
    }
    return fail(ESRCH);
}

int proc_listpids(uint32_t type, uint32_t info, void *buffer, int size) {
    CALL;
    if (type != ALL_PIDS || info) return fail(EINVAL);
    Object *processes = part("processes");
    int needed = (int)(processes->count * sizeof(int32_t));
    if (!buffer) return needed;
    int count = size < needed ? size / (int)sizeof(int32_t) : (int)processes->count;
    for (int i = 0; i < count; i++) ((int32_t *)buffer)[i] = (int32_t)get_integer(processes->items[i], "pid");
    return count * (int)sizeof(int32_t);
}
