/* A program may use all pthread keys (PTHREAD_KEYS_MAX, 1,024): malloc takes none, and
 * works when pthread_setspecific allocates for a high one.
 */
#include "program.h"
#include <limits.h>

static pthread_key_t keys[PTHREAD_KEYS_MAX];
static atomic_int destroyed;

static void destroy(void *value) {
    check_filled(value, 40, 1);
    free(value);
    atomic_fetch_add(&destroyed, 1);
}

static void *set_all(void *arg) {
    (void)arg;
    for (int i = 0; i < PTHREAD_KEYS_MAX; i++) {
        void *value = must_malloc(40);
        fill(value, 40, 1);
        check(pthread_setspecific(keys[i], value) == 0, "pthread_setspecific of key %d failed", i);
    }
    return NULL;
}

int main(void) {
    free(must_malloc(1)); /* whatever malloc needs for itself, it has now */
    for (int i = 0; i < PTHREAD_KEYS_MAX; i++)
        check(pthread_key_create(&keys[i], destroy) == 0, "only %d pthread keys of %d are left", i,
              PTHREAD_KEYS_MAX);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        threads[i] = start(set_all, NULL);
    for (int i = 0; i < 4; i++)
        join(threads[i]);
    check(destroyed == 4 * PTHREAD_KEYS_MAX, "%d destructors ran", destroyed);
    return 0;
}
