/* A malloc, as a library, that is broken only while random.c plays whole rounds: no shorter
 * sequence of calls shows it, as with a defect that depends on the clock or the addresses.
 */
#define CALLOC fickle_calloc
#include "../broken/base.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int playing(void) {
    static int known;
    char text[4000] = "";
    if (known)
        return known > 1;
    int fd = open("/proc/self/cmdline", O_RDONLY);
    ssize_t length = read(fd, text, sizeof text);
    close(fd);
    known = 1;
    for (ssize_t i = 0; i + 4 < length; i++)
        if (!memcmp(text + i, "play", 5))
            known = 2;
    return known > 1;
}

void *fickle_calloc(size_t count, size_t size) {
    char *p = honest_calloc(count, size);
    if (p && playing() && count * size > 100)
        p[100] = 1;
    return p;
}
