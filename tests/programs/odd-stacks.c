/* Allocates 4711 bytes where stacks are odd:
 *
 *     signal              in a signal handler on a stack of its own, which interrupted a function
 *     coroutine           on a stack made by makecontext, ten times, each unmapped afterwards
 *     plugin A.so B.so    in libraries that come to lie at the same address, one after the other
 *     small               on the smallest stack that a thread may have
 *     realigned           below functions whose frames gcc aligns to 64 bytes
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

static void *volatile block;

__attribute__((noinline)) static void allocate(void) {
    block = malloc(4711);
    if (getenv("ODD_STACKS_LEAK"))
        block = NULL;
    free(block);
}

static void handler(int number) {
    (void)number;
    allocate();
}

__attribute__((noinline)) static void interrupted(void) {
    static volatile int count;
    raise(SIGUSR1);
    count++; /* or it would be a jump */
}

static int in_signal(void) {
    static char stack[65536];
    stack_t own = {.ss_sp = stack, .ss_size = sizeof stack};
    sigaltstack(&own, NULL);
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = handler, .sa_flags = SA_ONSTACK}, NULL);
    interrupted();
    return 0;
}

static ucontext_t home, there;

static int in_coroutine(void) {
    size_t size = 65536;
    for (int i = 0; i < 10; i++) {
        char *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        getcontext(&there);
        there.uc_stack.ss_sp = stack;
        there.uc_stack.ss_size = size;
        there.uc_link = &home;
        makecontext(&there, allocate, 0);
        swapcontext(&home, &there);
        munmap(stack, size);
    }
    return 0;
}

static int in_plugins(char **files) {
    for (int i = 0; i < 20; i++) {
        void *library = dlopen(files[i % 2], RTLD_NOW);
        void *(*call)(void (*)(void)) = NULL;
        void *found = library ? dlsym(library, "plugin_call") : NULL;
        if (!found)
            return 1;
        memcpy(&call, &found, sizeof call);
        call(allocate);
        dlclose(library);
    }
    return 0;
}

static void *thread(void *unused) {
    allocate();
    return unused;
}

static int on_small_stack(void) {
    pthread_t id;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, (size_t)PTHREAD_STACK_MIN);
    return pthread_create(&id, &attributes, thread, NULL) || pthread_join(id, NULL);
}

__attribute__((noinline)) static void realigned(int depth) {
    _Alignas(64) volatile char aligned[64];
    volatile char rest[depth + 1];
    aligned[0] = rest[0] = (char)depth;
    if (depth > 0)
        realigned(depth - 1);
    else
        for (int i = 0; i < 5; i++)
            allocate();
    aligned[1] = rest[0];
}

int main(int count, char **words) {
    const char *mode = count > 1 ? words[1] : "";
    if (!strcmp(mode, "signal"))
        return in_signal();
    if (!strcmp(mode, "coroutine"))
        return in_coroutine();
    if (!strcmp(mode, "plugin") && count > 3)
        return in_plugins(words + 2);
    if (!strcmp(mode, "small"))
        return on_small_stack();
    realigned(5);
    return 0;
}
