/* model.h: what a scenario tells the model checker (model.c). */
#pragma once

#include <pthread.h>
#include <stddef.h>

/* Runs the bodies of `threads` threads in every order and with every value that a load may return,
 * up to so many deviations from the plainest run; `end` after each run, with everything seen. What
 * the threads wrote is undone before the next run. Ends the program with 1 at the first fault. */
long model_run(int threads, void (*body)(int thread), void (*end)(void), int deviations);

/* The scenario keeps variables of a thread here: `to` runs next, instead of `from`. */
void scenario_switch(int from, int to);

/* The checker does not look at these bytes: they belong to one thread at a time. */
void model_ignore(const void *start, size_t size);

int model_lock(pthread_mutex_t *mutex);
int model_trylock(pthread_mutex_t *mutex);
int model_unlock(pthread_mutex_t *mutex);

/* Drops `acquire` or `release` from the order of one operation, by its line of model_print. */
void model_weaken(const char *code, const char *what, const char *drop);

/* Prints what was run: `0x4012ab load acquire`, for each place in the code. */
void model_print(void);

/* Calls that the compiler does not turn into accesses. */
void *model_copy(void *to, const void *from, size_t size);
void *model_fill(void *at, int byte, size_t size);

__attribute__((noreturn, format(printf, 1, 2))) void model_fault(const char *format, ...);
