// A destructor frees what its owner has freed: names that are mangled, and a call that is inlined.
#include <cstdlib>

namespace shop {

struct Cart {
    int *items;

    __attribute__((always_inline)) void fill(unsigned long n) {
        items = new int[n];
    }

    template <class T> __attribute__((noinline)) void drop(T from) {
        delete[] (items + from);
        __asm__ volatile("" ::: "memory"); // no jump instead of the call
    }
};

} // namespace shop

int main(int argc, char **) {
    shop::Cart cart;
    cart.fill(24ul + static_cast<unsigned long>(argc));
    cart.drop(0);
    cart.drop(0);
    return EXIT_SUCCESS;
}
