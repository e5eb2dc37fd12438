/* A timer's signal interrupts malloc at any point, again and again; its handler does
 * what handlers may, on a stack of its own, and no block changes.
 *
 *     process-signals [milliseconds]
 */
#include "program.h"
#include <sys/time.h>

enum { LIVE = 200, LARGEST = 6000 };
static volatile sig_atomic_t came;

static void alarmed(int signal) {
    char text[256];
    int saved = errno;
    memset(text, signal, sizeof text);
    if (write(-1, text, sizeof text) < 0)
        came++;
    errno = saved;
}

static long milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int main(int argc, char **argv) {
    long until = milliseconds() + argument(argc, argv, 1, 1000);
    static char stack[65536];
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = alarmed, .sa_flags = SA_ONSTACK}, NULL);
    struct itimerval often = {{0, 100}, {0, 100}};
    setitimer(ITIMER_REAL, &often, NULL);
    uint64_t random = 1;
    struct {
        void *p;
        size_t size;
    } blocks[LIVE] = {0};
    while (milliseconds() < until)
        for (int i = 0; i < 20; i++) {
            size_t one = chance_below(&random, LIVE), size = chance_size(&random, LARGEST);
            if (blocks[one].p)
                check_filled(blocks[one].p, blocks[one].size, one);
            free(blocks[one].p);
            fill(blocks[one].p = must_malloc(size), size, one);
            blocks[one].size = size;
        }
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    check(came > 10, "only %d signals came", (int)came);
    return 0;
}
