/* HID sensors, as IOKit's event system shows them. */
#include "fake.h"

#define MOST_CLIENTS 8
#define TEMPERATURE 15

static int live_clients;

void hid_client_is_gone(void) {
    live_clients--;
    live_handles--;
}

void *IOHIDEventSystemClientCreate(const void *allocator) {
    CALL;
    if (allocator) die("another allocator than the default");
    if (++live_clients > MOST_CLIENTS) die("%d clients at a time: each holds a mach port", live_clients);
    live_handles++;
    return own(make(HID_CLIENT));
}

void IOHIDEventSystemClientSetMatching(void *reference, const void *matching) {
    CALL;
    Object *client = checked(reference, HID_CLIENT), *before = client->about;
    client->about = hold(copy_of(checked(matching, DICTIONARY)));
    if (before) drop(before);
}

/* Which of the services of the same name it is, is in `integer`. */
static Object *service_of(const char *product, int64_t index) {
    Object *service = make(HID_SERVICE);
    service->about = hold(string_of(product));
    service->integer = index;
    return service;
}

const void *IOHIDEventSystemClientCopyServices(const void *reference) {
    CALL;
    Object *matching = checked(reference, HID_CLIENT)->about, *sensors = part("hid");
    if (!sensors) return NULL;
    Object *services = make(ARRAY);
    bool asked = matching && get_integer(matching, "PrimaryUsagePage") == 0xff00;
    if (asked && get_integer(matching, "PrimaryUsage") == 5) {
        for (size_t i = 0; i < sensors->count; i++) {
            append(services, service_of(text_of(sensors->items[i]->items[0]), (int64_t)i));
        }
    } else {
        append(services, service_of("Apple Internal Keyboard / Trackpad", -1));
    }
    return own(services);
}

const void *IOHIDServiceClientCopyProperty(const void *reference, const void *key) {
    CALL;
    Object *service = checked(reference, HID_SERVICE);
    return is_text(checked(key, STRING), "Product") ? own(copy_of(service->about)) : NULL;
}

const void *IOHIDServiceClientCopyEvent(const void *reference, int64_t type, int32_t options, int64_t timestamp) {
    CALL;
    Object *service = checked(reference, HID_SERVICE), *sensors = part("hid");
    if (options || timestamp) die("options and timestamp are 0");
    size_t index = (size_t)service->integer;
    if (type != TEMPERATURE || !sensors || index >= sensors->count) return NULL;
    Object *sensor = sensors->items[index];
    if (!equal(sensor->items[0], service->about) || sensor->count < 2) return NULL;
    Object *event = make(HID_EVENT);
    event->real = sensor->items[1]->real;
    return own(event);
}

double IOHIDEventGetFloatValue(const void *reference, int32_t field) {
    CALL;
    Object *event = checked(reference, HID_EVENT);
    if (field != TEMPERATURE << 16) die("the event has no field %#x", (unsigned)field);
    return event->real;
}
