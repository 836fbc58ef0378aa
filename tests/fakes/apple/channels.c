/* IOReport's channel dictionaries: made from the machine's channels, and found again among them. */
#include "fake.h"

#include <stdlib.h>
#include <string.h>

/* One element of RawElements. */
typedef struct {
    int64_t provider_id, channel_id, channel_type, timestamp, values[4];
} Element;

static const char *const elements_key = "RawElements";
/* Where the values of a sample without RawElements are. */
static const char *const unpublished_key = "Elements";

static Channel *channels;
static size_t count;
/* Labels are for ever, as IOReport's are: pairs of unit code and label. */
static Object *labels;

static void learn_labels(const Object *units) {
    if (!labels) labels = hold(make(ARRAY));
    for (size_t i = 0; i < units->count; i++) {
        Object *unit = units->items[i];
        bool known = false;
        for (size_t k = 0; k < labels->count; k++) known |= equal(labels->items[k]->items[0], unit->items[0]);
        if (!known) append(labels, copy_of(unit));
    }
}

void index_channels(void) {
    Object *list = part("channels");
    learn_labels(part("units"));
    count = list->count;
    channels = realloc(channels, (count + 1) * sizeof *channels);
    if (!channels) die("out of memory");
    for (size_t i = 0; i < count; i++) {
        Object *data = list->items[i];
        channels[i] = (Channel){
            .data = data,
            .driver_id = get_integer(data, "driver_id"),
            .channel_id = get_integer(data, "channel_id"),
            .hidden = get(data, "hidden") == boolean_objects[true],
        };
    }
}

Channel *next_channel(size_t *position) { return *position < count ? &channels[(*position)++] : NULL; }

/* A hidden channel goes by the driver's number and its own: the texts are the caller's. */
static bool is_hidden_of(const Channel *channel, int64_t driver_id) {
    Object *driver = node_of((uint64_t)driver_id);
    return channel->driver_id == driver_id || (driver && is_text(get(driver, "class"), "AppleCLPC"));
}

/* The channel that a dictionary means, or NULL. */
Channel *channel_of(const Object *entry) {
    int64_t driver_id = get_integer(entry, "DriverID"), channel_id = legend_of(entry, 0)->integer;
    Object *group = get(entry, "IOReportGroupName"), *subgroup = get(entry, "IOReportSubGroupName");
    for (size_t i = 0; i < count; i++) {
        Channel *channel = &channels[i];
        if (channel->channel_id != channel_id || !equal(get(channel->data, "group"), group)) continue;
        if (channel->hidden) {
            if (is_hidden_of(channel, driver_id)) return channel;
            continue;
        }
        bool same_subgroup = equal(get(channel->data, "subgroup"), subgroup);
        bool same_name = equal(get(channel->data, "name"), legend_of(entry, 2));
        if (channel->driver_id == driver_id && same_subgroup && same_name) return channel;
    }
    return NULL;
}

static void put_if(Object *dictionary, const char *key, const Object *value) {
    if (value) put(dictionary, key, copy_of(value));
}

/* The dictionary in the answers of IOReportCopyChannelsInGroup. */
Object *entry_of(const Channel *channel) {
    const Object *data = channel->data, *names = get(data, "states"), *unit = get(data, "unit");
    int64_t elements = names ? (int64_t)names->count : 1;
    Object *entry = make(DICTIONARY), *legend = make(ARRAY);
    put(entry, "DriverID", integer_of(channel->driver_id));
    put_if(entry, "DriverName", get(data, "driver"));
    put_if(entry, "IOReportGroupName", get(data, "group"));
    put_if(entry, "IOReportSubGroupName", get(data, "subgroup"));
    if (unit) {
        Object *info = make(DICTIONARY);
        put(info, "IOReportChannelUnit", copy_of(unit));
        put(entry, "IOReportChannelInfo", info);
    }
    append(legend, integer_of(channel->channel_id));
    append(legend, integer_of(get_integer(data, "format") | 2 << 16 | elements << 32));
    append(legend, copy_of(get(data, "name")));
    put(entry, "LegendChannel", legend);
    put_if(entry, "StateNames", names);
    return entry;
}

/* The dictionary in a sample: the one that was subscribed to, with the values of now. */
Object *sample_of(const Object *entry, const Channel *channel) {
    Object *sample = copy_of(entry);
    const Object *values = get(channel->data, "values"), *published = get(channel->data, "published");
    int format = format_of(entry);
    Element *elements = take((values->count + 1) * sizeof *elements);
    for (size_t i = 0; i < values->count; i++) {
        elements[i] = (Element){
            .provider_id = channel->driver_id,
            .channel_id = channel->channel_id,
            .channel_type = legend_of(entry, 1)->integer | (int64_t)i << 48,
            .timestamp = published ? published->integer : 0,
        };
        elements[i].values[format == STATE_FORMAT ? 2 : 0] = values->items[i]->integer;
    }
    put(sample, published ? elements_key : unpublished_key, data_of(elements, values->count * sizeof *elements));
    give_back(elements, (values->count + 1) * sizeof *elements);
    return sample;
}

Object *legend_of(const Object *entry, size_t index) { return get(entry, "LegendChannel")->items[index]; }

Object *checked_channel(const void *reference) {
    Object *entry = checked(reference, DICTIONARY), *legend = get_as(entry, "LegendChannel", ARRAY);
    bool described = get_as(entry, "IOReportGroupName", STRING) && get_as(entry, "DriverID", NUMBER);
    static const Type types[] = {NUMBER, NUMBER, STRING};
    bool whole = described && legend && legend->count == 3;
    for (size_t i = 0; whole && i < 3; i++) whole = legend->items[i]->type == types[i];
    if (!whole) die("not the dictionary of a channel");
    return entry;
}

int format_of(const Object *entry) { return legend_of(entry, 1)->integer & 0xff; }

static Object *elements_of(const Object *entry) {
    Object *elements = get_as(entry, elements_key, DATA);
    if (!elements) elements = get_as(entry, unpublished_key, DATA);
    if (!elements) die("the channel has no values: it is not from a sample");
    return elements;
}

size_t element_count(const Object *entry) { return elements_of(entry)->count / sizeof(Element); }

/* The four values of one element. */
int64_t *element_of(const Object *entry, int format, int64_t index) {
    if (format_of(entry) != format) die("the channel has format %d, not %d", format_of(entry), format);
    Object *elements = elements_of(entry);
    if (index < 0 || (size_t)index >= elements->count / sizeof(Element)) {
        die("index %ld of %zu", (long)index, elements->count / sizeof(Element));
    }
    return ((Element *)elements->bytes)[index].values;
}

Object *unit_label_of(const Object *entry) {
    Object *info = get_as(entry, "IOReportChannelInfo", DICTIONARY);
    Object *code = info ? get_as(info, "IOReportChannelUnit", NUMBER) : NULL;
    for (size_t i = 0; code && i < labels->count; i++) {
        if (equal(labels->items[i]->items[0], code)) return labels->items[i]->items[1];
    }
    return NULL;
}
