/*
 * An empty library, preloaded for comparison: it costs the time that the dynamic linker takes for
 * any preloaded library.
 */
typedef int nothing;
