/* crime.hh: what the C++ programs of this folder share; see crime.h. */
#pragma once

#include <cstdlib>
#include <new>
#include <sys/resource.h>

/* Without core files: these programs are meant to die. */
__attribute__((constructor)) static void no_core() {
    rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
}

/* Hides from the compiler where a block comes from. */
template <class T> static T *hidden(T *p) {
    T *volatile q = p;
    return q;
}
