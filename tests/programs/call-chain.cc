// Prints by which calls it got where it is: the return addresses, innermost first, then what is
// mapped. Some of the functions are templates, some are inlined, one is static.
#include <execinfo.h>
#include <fstream>
#include <iostream>

#define APART __attribute__((noinline))

static inline __attribute__((always_inline)) int look() {
    void *frames[16];
    int n = backtrace(frames, 16);
    for (int i = 0; i < n; i++)
        std::cout << frames[i] << '\n';
    std::cout << std::ifstream("/proc/self/maps").rdbuf();
    return n;
}

namespace chain {
template <typename T> APART int first(T n) {
    int found = look();
    asm volatile("" ::: "memory");
    return found + static_cast<int>(n);
}
} // namespace chain

static APART int hidden(int n) {
    int found = chain::first<long>(n);
    asm volatile("" ::: "memory");
    return found + n;
}

extern "C" APART int seen(int n) {
    int found = hidden(n);
    asm volatile("" ::: "memory");
    return found - n;
}

int main() { return seen(1) > 0 ? 0 : 1; }
