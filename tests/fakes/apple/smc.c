/* The SMC: 80 bytes in, 80 bytes out, by way of a connection to one of several services of the same class. */
#include "fake.h"

#include <string.h>

#define STRUCT_SIZE 80
enum { READ = 5, KEY_AT = 8, KEY_INFO = 9 };
enum { OK = 0, BAD_COMMAND = 130, NO_SUCH_KEY = 132, SIZE_MISMATCH = 135, NO_SUCH_INDEX = 184 };
enum { KEY_OFFSET = 0, SIZE_OFFSET = 28, TYPE_OFFSET = 32, RESULT_OFFSET = 40, COMMAND_OFFSET = 42, INDEX_OFFSET = 44 };
enum { BYTES_OFFSET = 48, BYTES_SIZE = 32 };

uint32_t IOServiceOpen(uint32_t service, uint32_t task, uint32_t type, uint32_t *connection) {
    CALL;
    Object *node = node_of(handle(service, ENTRY)->id);
    if (task != TASK_SELF) die("task %#x is not this one", task);
    if (!connection) die("NULL for a connection");
    if (!node) return IO_NOT_FOUND;
    if (!has_class(node, "AppleSMC") || type) return IO_UNSUPPORTED;
    *connection = new_handle(CONNECTION, 0, get(node, "name"));
    return KERN_SUCCESS;
}

uint32_t IOServiceClose(uint32_t connection) {
    CALL;
    handle(connection, CONNECTION);
    close_handle(connection);
    return KERN_SUCCESS;
}

static uint32_t number_at(const uint8_t *bytes, int offset) {
    uint32_t number;
    memcpy(&number, bytes + offset, sizeof number);
    return number;
}

/* The first character is in the most significant byte. */
static void put_code(uint8_t *bytes, int offset, const Object *code) {
    for (int i = 0; i < 4; i++) bytes[offset + i] = code->bytes[3 - i];
}

/* Array of key, type and value, or NULL. */
static Object *key_of(const Object *keys, const uint8_t *input) {
    uint8_t code[4];
    for (size_t i = 0; i < keys->count; i++) {
        put_code(code, 0, keys->items[i]->items[0]);
        if (!memcmp(code, input + KEY_OFFSET, sizeof code)) return keys->items[i];
    }
    return NULL;
}

static int answer(const Object *keys, const uint8_t *input, uint8_t *output) {
    uint32_t index = number_at(input, INDEX_OFFSET);
    uint8_t command = input[COMMAND_OFFSET];
    if (command == KEY_AT) {
        if (index >= keys->count) return NO_SUCH_INDEX;
        put_code(output, KEY_OFFSET, keys->items[index]->items[0]);
        return OK;
    }
    if (command != READ && command != KEY_INFO) return BAD_COMMAND;
    Object *key = key_of(keys, input);
    if (!key) return NO_SUCH_KEY;
    Object *value = key->items[2];
    uint32_t size = (uint32_t)value->count;
    if (command == KEY_INFO) {
        memcpy(output + SIZE_OFFSET, &size, sizeof size);
        put_code(output, TYPE_OFFSET, key->items[1]);
        return OK;
    }
    if (number_at(input, SIZE_OFFSET) != size) return SIZE_MISMATCH;
    memcpy(output + BYTES_OFFSET, value->bytes, size < BYTES_SIZE ? size : BYTES_SIZE);
    return OK;
}

/* Whatever is not asked with has to be 0: a field at the wrong offset is found here. */
static bool well_formed(const uint8_t *input) {
    for (int i = 0; i < STRUCT_SIZE; i++) {
        bool key = i < 4, info = i >= SIZE_OFFSET && i < SIZE_OFFSET + 9;
        bool asked = i == COMMAND_OFFSET || (i >= INDEX_OFFSET && i < INDEX_OFFSET + 4);
        if (input[i] && !key && !info && !asked) return false;
    }
    return true;
}

uint32_t IOConnectCallStructMethod(uint32_t connection, uint32_t selector, const void *input, size_t input_size,
                                   void *output, size_t *output_size) {
    CALL;
    Object *service = handle(connection, CONNECTION)->list, *keys = part("smc");
    if (!input || !output || !output_size) die("NULL for a struct");
    if (!is_text(service, "AppleSMCKeysEndpoint") || selector != 2 || !keys) return IO_UNSUPPORTED;
    if (input_size != STRUCT_SIZE || *output_size != STRUCT_SIZE || !well_formed(input)) return IO_BAD_ARGUMENT;
    uint8_t bytes[STRUCT_SIZE] = {0};
    bytes[RESULT_OFFSET] = (uint8_t)answer(keys, input, bytes);
    memcpy(output, bytes, sizeof bytes);
    return KERN_SUCCESS;
}
