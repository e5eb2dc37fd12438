/*
 * cache: an hour of an LRU cache, in 60 minutes of a quarter of a second each. Its capacity rises
 * from 32 to 128 MiB and falls again, three times; the values become larger during the hour.
 * Requests find their entry, or add it and evict the oldest ones.
 *
 * Stands for: any server with a cache whose load varies over the day, and whose data change.
 * Shows: fragmentation over time: whether resident memory follows live memory when block sizes
 * change, and falls when the cache shrinks. A point is taken at the end of each minute.
 *
 *     points: minute, 60 times
 */
#include "life.h"

enum { MINUTES = 60, WAVE = 20, KEYS = 1 << 20, BUCKETS = 1 << 19 };

/* Links for use (newest to oldest) and for the bucket; the value is a block of its own. */
struct entry {
    struct entry *newer, *older, *next;
    uint32_t key, size;
    struct block *value;
};

static struct entry **bucket, *newest, *oldest;
static size_t live;

static void use_unlink(struct entry *entry)
{
    *(entry->newer ? &entry->newer->older : &newest) = entry->older;
    *(entry->older ? &entry->older->newer : &oldest) = entry->newer;
}

static void use_push(struct entry *entry)
{
    entry->newer = NULL;
    entry->older = newest;
    *(newest ? &newest->newer : &oldest) = entry;
    newest = entry;
}

/* The link in the bucket that points to the entry, or would. */
static struct entry **entry_find(uint32_t key)
{
    struct entry **at = &bucket[key % BUCKETS];
    while (*at && (*at)->key != key)
        at = &(*at)->next;
    return at;
}

static void entry_add(struct entry **at, uint32_t key, size_t size)
{
    struct entry *entry = (struct entry *)block_new(sizeof *entry);
    *entry = (struct entry){.next = *at, .key = key, .value = block_new(size)};
    *at = entry;
    use_push(entry);
    live += sizeof *entry + entry->value->size;
}

static void oldest_evict(void)
{
    struct entry *entry = oldest, **at = entry_find(entry->key);
    *at = entry->next;
    use_unlink(entry);
    live -= sizeof *entry + block_end(entry->value);
    free(entry);
}

static void request(uint64_t *seed, size_t capacity, uint32_t minute)
{
    uint32_t one = draw(seed, KEYS), other = draw(seed, KEYS), key = one < other ? one : other;
    size_t size = 8 + size_drawn(seed) * (4 + minute / 8) / 4;
    struct entry **at = entry_find(key);
    if (*at) {
        use_unlink(*at);
        use_push(*at);
        return;
    }
    entry_add(at, key, size);
    while (live > capacity)
        oldest_evict();
}

int main(int argc, char **argv)
{
    life_begin(argc, argv);
    uint64_t seed = 11;
    bucket = table_new(BUCKETS, sizeof *bucket);
    sizes_begin(4096);
    double next = seconds_now();
    for (uint32_t minute = 0; minute < MINUTES; minute++) {
        uint32_t phase = minute % WAVE, height = phase < WAVE / 2 ? phase : WAVE - phase;
        size_t capacity = scaled((32 + 96 * height / (WAVE / 2)) * (size_t)MIB, MIB);
        for (size_t requests = scaled(120000, 1000); requests > 0; requests--)
            request(&seed, capacity, minute);
        next += life.pace / 4;
        if (next > seconds_now())
            nap(next - seconds_now());
        point("minute", live);
    }
    life_end();
}
