// Every operator new and delete, each so many times, and two that fail unless there is an argument.

#include <cstdio>
#include <new>
#include <vector>

enum { ROUNDS = 100 };
struct alignas(64) Wide {
    char bytes[128];
};
static void *volatile sink;

template <class T> static T *kept(T *p) {
    sink = p;
    return p;
}

int main(int count, char **) {
    for (int i = 0; i < ROUNDS; i++) {
        ::operator delete(kept(::operator new(1001)));
        ::operator delete(kept(::operator new(1002)), static_cast<std::size_t>(1002));
        ::operator delete[](kept(::operator new[](1003)));
        ::operator delete[](kept(::operator new[](1004)), static_cast<std::size_t>(1004));
        ::operator delete(kept(::operator new(1005, std::nothrow)), std::nothrow);
        ::operator delete[](kept(::operator new[](1006, std::nothrow)), std::nothrow);
        const auto a = static_cast<std::align_val_t>(64);
        ::operator delete(kept(::operator new(2048, a)), a);
        ::operator delete(kept(::operator new(2112, a)), static_cast<std::size_t>(2112), a);
        ::operator delete[](kept(::operator new[](2176, a)), a);
        ::operator delete[](kept(::operator new[](2240, a)), static_cast<std::size_t>(2240), a);
        ::operator delete(kept(::operator new(2304, a, std::nothrow)), a, std::nothrow);
        ::operator delete[](kept(::operator new[](2368, a, std::nothrow)), a, std::nothrow);
        delete kept(new Wide);
    }
    if (count > 1)
        return 0;
    volatile std::size_t much = static_cast<std::size_t>(1) << 60;
    try {
        sink = ::operator new(much);
        std::puts("not thrown");
    } catch (const std::bad_alloc &) {
        std::puts("thrown");
    }
    std::puts(::operator new(much, std::nothrow) ? "not null" : "null");
}
