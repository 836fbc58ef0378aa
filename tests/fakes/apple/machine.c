/* The Mac that is shown. */
#include "fake.h"

Object *machine;

/* Takes the place of the Mac before; entries, connections, subscriptions and clients go on and see the new one. */
void fake_show(const uint8_t *data, size_t length) {
    CALL;
    Object *before = machine;
    machine = hold(decode(data, length));
    index_registry();
    index_channels();
    if (before) drop(before);
}

Object *part(const char *key) {
    if (!machine) die("no machine is shown");
    return get(machine, key);
}
