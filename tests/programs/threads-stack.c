/* Every call of the family fits on the smallest stack that a thread can have.
 */
#include "program.h"
#include "libmalloc.h"
#include <limits.h>

extern int libmalloc_check(void (*)(const char *, void *), void *) __attribute__((weak));
extern int libmalloc_stats(struct libmalloc_stats *) __attribute__((weak));

static void *work(void *arg) {
    size_t largest = (size_t)arg;
    for (size_t size = 1; size <= largest; size = size * 3 + 1) {
        void *p = must_malloc(size);
        p = realloc(p, size / 2 + 1);
        check(p, "realloc to %zu bytes failed", size / 2 + 1);
        free(p);
        p = calloc(size, 1);
        check(p, "calloc(%zu, 1) failed", size);
        free(p);
        if (lacks("posix_memalign"))
            continue;
        check(posix_memalign(&p, 4096, size) == 0, "posix_memalign(4096, %zu) failed", size);
        check(usable_size(p, size) >= size, "usable size %zu", usable_size(p, size));
        free(p);
    }
    mallinfo2();
    malloc_trim(0);
    struct libmalloc_stats stats = {.size = sizeof stats};
    check(!libmalloc_stats || libmalloc_stats(&stats) == 0, "libmalloc_stats failed");
    check(!libmalloc_check || libmalloc_check(NULL, NULL) == 0, "the heap is broken");
    return NULL;
}

int main(int argc, char **argv) {
    long largest = argument(argc, argv, 1, 10000000);
    pthread_attr_t least;
    pthread_attr_init(&least);
    check(pthread_attr_setstacksize(&least, (size_t)PTHREAD_STACK_MIN) == 0, "no such stack");
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        check(pthread_create(&thread, &least, work, (void *)largest) == 0, "no thread");
        join(thread);
    }
    return 0;
}
