// Replaces one operator new and its delete, as programs may: the other forms have to call them. Counts.

#include <cstdio>
#include <cstdlib>
#include <new>
#include <vector>

static int news, deletes;

void *operator new(std::size_t size) {
    news++;
    if (void *p = malloc(size ? size : 1))
        return p;
    throw std::bad_alloc();
}

void operator delete(void *p) noexcept {
    deletes++;
    free(p);
}

template <class T> static T *hidden(T *p) {
    T *volatile q = p;
    return q;
}

int main() {
    delete hidden(new int(1));
    delete[] hidden(new int[100]);
    ::operator delete(hidden(::operator new(1001, std::nothrow)), std::nothrow);
    ::operator delete(hidden(::operator new(1002)), static_cast<std::size_t>(1002));
    { std::vector<int> numbers(100); }
    printf("%d news, %d deletes\n", news, deletes);
    return 0;
}
