/*
 * What the files of the fake share: objects with two kinds of references, and the Mac that is shown.
 *
 * A reference is either owned by the client (Create, Copy, CFRetain) or held by the library (by a container, by the
 * machine). The client may release only what it owns, so that releasing a borrowed reference is found where it happens
 * and not at a later use, and what it still owns at the end is a leak.
 */
#ifndef FAKE_H
#define FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    ANY,
    STRING,
    NUMBER,
    BOOLEAN,
    DATA,
    ARRAY,
    DICTIONARY,
    SUBSCRIPTION,
    HID_CLIENT,
    HID_SERVICE,
    HID_EVENT,
} Type;

typedef struct Object Object;
struct Object {
    void *link; /* of the freed blocks; never used while the object lives */
    uint64_t magic;
    Type type;
    bool is_mutable;
    bool is_float;
    bool borrows; /* a container made without callbacks: it holds nothing and compares addresses */
    uint32_t owned, held;
    size_t count;    /* bytes of a string or data; elements of an array; keys and values of a dictionary */
    size_t capacity; /* bytes behind `bytes` or `items` */
    union {
        int64_t integer;
        double real;
        uint8_t *bytes;
        Object **items;
    };
    Object *about; /* subscription: its channels; HID client: its matching; HID service and event: the product */
};

/* core.c: memory, ownership, and the end of a program that does something wrong. */

/* Every exported function starts with it: one thread at a time, and `die` names the function that was called. */
#define CALL __attribute__((cleanup(leave), unused)) const char *outer_ = enter(__func__)
const char *enter(const char *function);
void leave(const char **outer);
_Noreturn void die(const char *why, ...) __attribute__((format(printf, 1, 2)));

void *take(size_t size);
void give_back(void *block, size_t size);
Object *make(Type type);
Object *checked(const void *reference, Type wanted);
Object *own(Object *object);
void disown(Object *object);
Object *hold(Object *object);
void drop(Object *object);
const char *type_name(Type type);

extern Object *const *const boolean_objects; /* false, true */
extern int64_t live_handles;                 /* io_objects, connections, tokens, HID clients, memory out of line */

/* values.c: what CoreFoundation's functions are made of. New objects are nobody's until owned or held. */
Object *string_of(const char *text);
Object *string_of_bytes(const uint8_t *bytes, size_t count);
Object *integer_of(int64_t value);
Object *real_of(double value);
Object *data_of(const void *bytes, size_t count);
void append(Object *array, Object *item);
void set(Object *dictionary, Object *key, Object *value);
void put(Object *dictionary, const char *key, Object *value);
Object *find(const Object *dictionary, const Object *key);
Object *get(const Object *dictionary, const char *key);
Object *get_as(const Object *dictionary, const char *key, Type type);
int64_t get_integer(const Object *dictionary, const char *key);
bool equal(const Object *a, const Object *b);
bool is_text(const Object *object, const char *text);
const char *text_of(const Object *string);
Object *copy_of(const Object *object);
Object *decode(const uint8_t *data, size_t length);
long utf16_units(const uint8_t *bytes, size_t count);

/* hid.c */
void hid_client_is_gone(void);

/* machine.c: the Mac that is shown. */
extern Object *machine;
Object *part(const char *key); /* NULL where this Mac has none */

/* registry.c: entries, iterators, connections. */
typedef enum { ENTRY = 1, ITERATOR, CONNECTION } HandleKind;
typedef struct {
    uint32_t number;
    HandleKind kind;
    Object *list;    /* iterator: registry ids still to come; connection: name of its service */
    uint64_t id;     /* entry: its registry id; iterator: position */
} Handle;
uint32_t new_handle(HandleKind kind, uint64_t id, Object *list);
Handle *handle(uint32_t number, HandleKind kind);
void close_handle(uint32_t number);
void index_registry(void);
Object *node_of(uint64_t id);
bool has_class(const Object *node, const char *class_name);

/* channels.c: the dictionaries that IOReport passes around. */
typedef struct {
    Object *data; /* the channel in `machine` */
    int64_t driver_id, channel_id;
    bool hidden;
} Channel;
enum { SIMPLE_FORMAT = 1, STATE_FORMAT, HISTOGRAM_FORMAT, ARRAY_FORMAT };
void index_channels(void);
Channel *next_channel(size_t *position);
Channel *channel_of(const Object *entry);
Object *entry_of(const Channel *channel);
Object *sample_of(const Object *entry, const Channel *channel);
Object *checked_channel(const void *reference);
int format_of(const Object *entry);
int64_t *element_of(const Object *entry, int format, int64_t index);
size_t element_count(const Object *entry);
Object *unit_label_of(const Object *entry);
Object *legend_of(const Object *entry, size_t index);

#define KERN_SUCCESS 0
#define KERN_INVALID_ARGUMENT 4
#define KERN_FAILURE 5
#define MIG_ARRAY_TOO_LARGE (-307)
#define IO_BAD_ARGUMENT 0xe00002c2u
#define IO_UNSUPPORTED 0xe00002c7u
#define IO_NOT_FOUND 0xe00002f0u
#define TASK_SELF 0x203u
#define HOST_SELF 0x1203u

#endif
