/* notify(3). A name that nobody posted registers fine and reads 0. */
#include "fake.h"

#include <stdlib.h>

#define FIRST_TOKEN 7

static Object **names; /* by token, NULL once it is cancelled */
static int tokens;

static Object **registration(int token) {
    if (token < FIRST_TOKEN || token - FIRST_TOKEN >= tokens) die("token %d was never given", token);
    Object **name = &names[token - FIRST_TOKEN];
    if (!*name) die("token %d was cancelled", token);
    return name;
}

uint32_t notify_register_check(const char *name, int *token) {
    CALL;
    if (!name || !token) die("NULL for a name or a token");
    names = realloc(names, (size_t)(tokens + 1) * sizeof *names);
    if (!names) die("out of memory");
    names[tokens] = hold(string_of(name));
    *token = FIRST_TOKEN + tokens++;
    live_handles++;
    return 0;
}

uint32_t notify_get_state(int token, uint64_t *state) {
    CALL;
    Object **name = registration(token);
    if (!state) die("NULL for a state");
    Object *posted = find(part("notify"), *name);
    *state = posted ? (uint64_t)posted->integer : 0;
    return 0;
}

uint32_t notify_cancel(int token) {
    CALL;
    Object **name = registration(token);
    drop(*name);
    *name = NULL;
    live_handles--;
    return 0;
}
