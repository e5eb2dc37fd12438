// An object is deleted through its second base, which has no virtual destructor: free gets an address
// in the middle of the block.
#include <cstdio>

extern "C" void checkpoint();
extern "C" __attribute__((noinline)) void checkpoint() { __asm__ volatile("" ::: "memory"); }

struct Device {
    virtual void open() {}
    long handle = 0;
};

struct Listener {
    virtual void notify() {}
    long events = 0;
};

struct Keyboard : Device, Listener {
    char layout[96] = "";
};

static Listener *volatile listener;

int main() {
    listener = new Keyboard;
    listener->notify();
    checkpoint();
#pragma GCC diagnostic ignored "-Wdelete-non-virtual-dtor"
    delete listener;
    return 0;
}
