/* The Mach kernel: clock, virtual memory, processors. */
#define _GNU_SOURCE
#include "fake.h"

#include <string.h>
#include <sys/mman.h>

#define MOST_HOST_PORTS 16
#define MOST_REGIONS 64
#define VM_INFO64 4
#define CPU_LOAD_INFO 2

uint32_t mach_task_self_ = TASK_SELF;

static struct {
    uint64_t address, size;
} regions[MOST_REGIONS];
static int host_ports;

void fake_forget_host_ports(void) {
    CALL;
    host_ports = 0;
}

/* Each call takes a reference to the port that only mach_port_deallocate gives back. */
uint32_t mach_host_self(void) {
    CALL;
    if (++host_ports > MOST_HOST_PORTS) die("called %d times: each call leaks a port right", host_ports);
    return HOST_SELF;
}

static void check_host(uint32_t host) {
    if (host != HOST_SELF) die("%#x is not the host port", host);
}

uint32_t mach_timebase_info(uint32_t *info) {
    CALL;
    if (!info) die("NULL for a timebase");
    Object *timebase = part("timebase");
    info[0] = (uint32_t)timebase->items[0]->integer;
    info[1] = (uint32_t)timebase->items[1]->integer;
    return KERN_SUCCESS;
}

uint64_t mach_absolute_time(void) {
    CALL;
    return (uint64_t)part("absolute_ticks")->integer;
}

uint32_t host_page_size(uint32_t host, uint64_t *size) {
    CALL;
    check_host(host);
    if (!size) die("NULL for a size");
    *size = (uint64_t)part("page_size")->integer;
    return KERN_SUCCESS;
}

/* The kernel answers who asks often from a cache, and never cuts what is in it to a smaller count. */
int32_t host_statistics64(uint32_t host, int32_t flavor, void *info, uint32_t *count) {
    CALL;
    check_host(host);
    if (!info || !count) die("NULL for a struct or its count");
    Object *statistics = part("vm");
    if (flavor != VM_INFO64) return KERN_INVALID_ARGUMENT;
    if (!statistics) return KERN_FAILURE;
    uint32_t needed = (uint32_t)statistics->count / 4;
    if (*count > needed) die("count is larger than expected: %u of %u", *count, needed);
    if (*count < needed && part("vm_cached") == boolean_objects[true]) {
        *count = needed;
        return MIG_ARRAY_TOO_LARGE;
    }
    memcpy(info, statistics->bytes, *count * 4);
    return KERN_SUCCESS;
}

static uint64_t out_of_line(const Object *data) {
    for (int i = 0; i < MOST_REGIONS; i++) {
        if (regions[i].address) continue;
        void *memory = mmap(NULL, data->count + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) die("out of memory");
        memcpy(memory, data->bytes, data->count);
        regions[i].address = (uint64_t)memory;
        regions[i].size = data->count;
        live_handles++;
        return regions[i].address;
    }
    die("%d answers were not given back with vm_deallocate", MOST_REGIONS);
}

int32_t host_processor_info(uint32_t host, int32_t flavor, uint32_t *cpus, void **info, uint32_t *count) {
    CALL;
    check_host(host);
    if (!cpus || !info || !count) die("NULL for an answer");
    Object *ticks = part("cpu_ticks");
    if (flavor != CPU_LOAD_INFO) return KERN_INVALID_ARGUMENT;
    if (!ticks) return KERN_FAILURE;
    *info = (void *)out_of_line(ticks);
    *count = (uint32_t)ticks->count / 4;
    *cpus = *count / 4;
    return KERN_SUCCESS;
}

int32_t vm_deallocate(uint32_t task, uint64_t address, uint64_t size) {
    CALL;
    if (task != TASK_SELF) die("task %#x is not this one", task);
    for (int i = 0; i < MOST_REGIONS; i++) {
        if (!address || regions[i].address != address) continue;
        if (regions[i].size != size) die("%zu bytes of %zu", (size_t)size, (size_t)regions[i].size);
        munmap((void *)address, size + 1);
        regions[i].address = 0;
        live_handles--;
        return KERN_SUCCESS;
    }
    die("%#zx is nothing that the kernel gave", (size_t)address);
}
