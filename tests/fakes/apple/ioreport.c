/* libIOReport. */
#include "fake.h"

static const char *const channels_key = "IOReportChannels";

const void *IOReportCopyChannelsInGroup(const void *group, const void *subgroup, uint64_t a, uint64_t b, uint64_t c) {
    CALL;
    Object *wanted = checked(group, STRING), *part_of_it = subgroup ? checked(subgroup, STRING) : NULL;
    if (a || b || c) die("the last three arguments are 0");
    Object *array = hold(make(ARRAY)), *answer = NULL;
    size_t position = 0;
    for (Channel *channel; (channel = next_channel(&position));) {
        if (channel->hidden || !equal(get(channel->data, "group"), wanted)) continue;
        if (part_of_it && !equal(get(channel->data, "subgroup"), part_of_it)) continue;
        append(array, entry_of(channel));
    }
    if (array->count) {
        answer = make(DICTIONARY);
        put(answer, channels_key, array);
        own(answer);
    }
    drop(array);
    return answer;
}

int32_t IOReportGetChannelCount(const void *reference) {
    CALL;
    Object *array = get_as(checked(reference, DICTIONARY), channels_key, ARRAY);
    return array ? (int32_t)array->count : 0;
}

static bool is_refused(const Object *entry) {
    Object *groups = part("refused");
    for (size_t i = 0; i < groups->count; i++) {
        if (equal(groups->items[i], get(entry, "IOReportGroupName"))) return true;
    }
    return false;
}

/* The channels that there are among those asked for; NULL where one of them is in a group that is refused. */
static Object *granted(const Object *asked) {
    Object *found = hold(make(ARRAY));
    for (size_t i = 0; i < asked->count; i++) {
        Object *entry = checked_channel(asked->items[i]);
        if (is_refused(entry)) {
            drop(found);
            return NULL;
        }
        Channel *channel = channel_of(entry);
        if (channel && channel->hidden && !entry->is_mutable) die("a channel of the caller's own is not mutable");
        if (channel) append(found, copy_of(entry));
    }
    return found;
}

const void *IOReportCreateSubscription(const void *a, void *desired, void **subscribed, uint64_t b, const void *c) {
    CALL;
    Object *dictionary = checked(desired, DICTIONARY);
    if (a || b || c) die("the first argument and the last two are 0");
    if (!dictionary->is_mutable) die("the channels are not in a mutable dictionary");
    if (!subscribed) die("NULL for the subscribed channels");
    Object *asked = get_as(dictionary, channels_key, ARRAY);
    if (!asked) die("there is no array IOReportChannels");
    Object *channels = granted(asked);
    if (!channels) return NULL;
    Object *subscription = NULL;
    if (channels->count) {
        subscription = own(make(SUBSCRIPTION));
        for (size_t i = 0; i < channels->count; i++) append(subscription, copy_of(channels->items[i]));
        Object *answer = make(DICTIONARY);
        answer->is_mutable = true;
        put(answer, channels_key, channels);
        subscription->about = answer;
        *subscribed = own(answer);
    }
    drop(channels);
    return subscription;
}

const void *IOReportCreateSamples(const void *reference, void *subscribed, const void *a) {
    CALL;
    Object *subscription = checked(reference, SUBSCRIPTION);
    if (checked(subscribed, DICTIONARY) != subscription->about) die("the channels of another subscription");
    if (a) die("the last argument is NULL");
    Object *sample = make(DICTIONARY), *array = make(ARRAY);
    for (size_t i = 0; i < subscription->count; i++) {
        Channel *channel = channel_of(subscription->items[i]);
        if (channel) append(array, sample_of(subscription->items[i], channel));
    }
    put(sample, channels_key, array);
    return own(sample);
}

const void *IOReportChannelGetGroup(const void *channel) {
    CALL;
    return get(checked_channel(channel), "IOReportGroupName");
}

const void *IOReportChannelGetSubGroup(const void *channel) {
    CALL;
    return get(checked_channel(channel), "IOReportSubGroupName");
}

const void *IOReportChannelGetDriverName(const void *channel) {
    CALL;
    return get(checked_channel(channel), "DriverName");
}

const void *IOReportChannelGetChannelName(const void *channel) {
    CALL;
    return legend_of(checked_channel(channel), 2);
}

const void *IOReportChannelGetUnitLabel(const void *channel) {
    CALL;
    return unit_label_of(checked_channel(channel));
}

uint64_t IOReportChannelGetDriverID(const void *channel) {
    CALL;
    return (uint64_t)get_integer(checked_channel(channel), "DriverID");
}

uint64_t IOReportChannelGetChannelID(const void *channel) {
    CALL;
    return (uint64_t)legend_of(checked_channel(channel), 0)->integer;
}

int32_t IOReportChannelGetFormat(const void *channel) {
    CALL;
    return format_of(checked_channel(channel));
}

int64_t IOReportSimpleGetIntegerValue(const void *channel, int32_t *error) {
    CALL;
    if (error) *error = 0;
    return element_of(checked_channel(channel), SIMPLE_FORMAT, 0)[0];
}

int32_t IOReportStateGetCount(const void *channel) {
    CALL;
    Object *entry = checked_channel(channel);
    if (format_of(entry) != STATE_FORMAT) die("the channel has format %d, not %d", format_of(entry), STATE_FORMAT);
    return (int32_t)element_count(entry);
}

const void *IOReportStateGetNameForIndex(const void *channel, int32_t index) {
    CALL;
    Object *entry = checked_channel(channel);
    element_of(entry, STATE_FORMAT, index);
    Object *name = get(entry, "StateNames")->items[index];
    return name->type == STRING ? name : NULL;
}

int64_t IOReportStateGetResidency(const void *channel, int32_t index) {
    CALL;
    return element_of(checked_channel(channel), STATE_FORMAT, index)[2];
}

int64_t IOReportStateGetInTransitions(const void *channel, int32_t index) {
    CALL;
    return element_of(checked_channel(channel), STATE_FORMAT, index)[1];
}

int64_t IOReportArrayGetValueAtIndex(const void *channel, int32_t index) {
    CALL;
    return element_of(checked_channel(channel), ARRAY_FORMAT, index)[0];
}

int32_t IOReportHistogramGetBucketCount(const void *channel) {
    CALL;
    Object *entry = checked_channel(channel);
    if (format_of(entry) != HISTOGRAM_FORMAT) die("the channel has format %d, not 3", format_of(entry));
    return (int32_t)element_count(entry);
}

int64_t IOReportHistogramGetBucketHits(const void *channel, int32_t index) {
    CALL;
    return element_of(checked_channel(channel), HISTOGRAM_FORMAT, index)[0];
}
