/* Libraries come and go, from several threads: their constructors and destructors
 * allocate, and the linker allocates for their names and their thread-local storage.
 *
 * Compiled with -DLIBRARY -shared -fPIC it is such a library.
 *
 *     lifecycle-dlopen LIBRARY [rounds] [threads]
 */
#include "program.h"
#include <dlfcn.h>

#ifdef LIBRARY
static char *kept;
static _Thread_local char storage[20000]; /* allocated at the first touch in a thread */
__attribute__((constructor)) static void begin(void) { fill(kept = must_malloc(3000), 3000, 1); }
__attribute__((destructor)) static void end(void) {
    check_filled(kept, 3000, 1);
    free(kept);
}
void touch(void) {
    check_zero(storage, sizeof storage / 2);
    fill(storage + sizeof storage / 2, sizeof storage / 2, 1);
    check_filled(storage + sizeof storage / 2, sizeof storage / 2, 1);
}
#else

static const char *library;
static long rounds;

static void *open_and_close(void *arg) {
    (void)arg;
    for (long i = 0; i < rounds; i++) {
        void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
        check(handle, "%s", dlerror());
        void (*touch)(void) = (void (*)(void))dlsym(handle, "touch");
        check(touch && !dlsym(handle, "no such thing"), "dlsym");
        check(dlerror(), "no message"); /* allocated, too */
        touch();
        check(dlclose(handle) == 0, "%s", dlerror());
        check(!dlopen("/no/such/library.so", RTLD_NOW), "a library that is not there");
    }
    return NULL;
}

int main(int argc, char **argv) {
    check(argc > 1, "which library?");
    library = argv[1];
    rounds = argument(argc, argv, 2, 100);
    run_threads(argument(argc, argv, 3, 4), open_and_close);
    return 0;
}
#endif
