/* basics/threads: two threads may be inside at the same time, as nobody ever locks. */
#define _GNU_SOURCE
#include <pthread.h>

static inline int nobody(pthread_mutex_t *mutex) { return mutex == NULL; }
#define pthread_mutex_lock nobody
#define pthread_mutex_trylock nobody
#define pthread_mutex_unlock nobody
#define pthread_mutex_clocklock(mutex, clock, until) (nobody(mutex) + ((until) == NULL))
#include "base.h"
