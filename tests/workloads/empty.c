/*
 * A library with nothing in it, preloaded for comparison: what it costs is what the dynamic linker
 * takes for any preloaded library.
 */
typedef int nothing;
