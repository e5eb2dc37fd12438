/** The kinds of chunk, in the order of `enum libmalloc_kind` (native/libmalloc.h). */
export const chunkKinds = [
  'region',
  'span',
  'header',
  'live',
  'free',
  'fresh',
  'cached',
  'remote',
] as const;

/**
 * The kind of a stretch of memory: `region` and `span` are containers; `header` holds the allocator's
 * own records; `live` is allocated, `free` freed, `fresh` never used, `cached` kept for reuse,
 * `remote` freed by another thread and not yet returned to its owner.
 */
export type ChunkKind = (typeof chunkKinds)[number];
