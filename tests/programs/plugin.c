/* A library whose one function has a frame of BYTES bytes, and calls back. */
#ifndef BYTES
#define BYTES 100
#endif

void *plugin_call(void (*call)(void));

void *plugin_call(void (*call)(void)) {
    volatile char frame[BYTES];
    frame[0] = 1;
    call();
    return frame[0] ? (void *)call : 0;
}
