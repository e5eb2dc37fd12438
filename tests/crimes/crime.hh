/* crime.hh: what the C++ programs of this folder share; see crime.h. */
#pragma once

#include <cstdlib>
#include <new>
#include <sys/resource.h>

/* A crime is no reason for a core file. */
__attribute__((constructor)) static void no_core() {
    rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
}

/* The compiler shall not see where a block comes from. */
template <class T> static T *hidden(T *p) {
    T *volatile q = p;
    return q;
}
