/* A process may have some 65,000 mappings. A program with steady traffic of all sizes needs a
 * bounded number of them, which does not grow over time.
 *
 *     structure-mappings [calls] [largest block] [mappings that are enough]
 */
#include "program.h"

enum { SLOTS = 2000 };
static char *slots[SLOTS];

static long mappings(void) {
    char text[8192];
    long lines = 0;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    check(fd >= 0, "cannot read /proc/self/maps");
    for (ssize_t got; (got = read(fd, text, sizeof text)) > 0;)
        for (ssize_t i = 0; i < got; i++)
            lines += text[i] == '\n';
    close(fd);
    return lines;
}

static void traffic(long calls, size_t largest, uint64_t *random) {
    for (long i = 0; i < calls; i++) {
        size_t k = chance_below(random, SLOTS), size = 1 + chance_size(random, largest);
        free(slots[k]);
        slots[k] = must_malloc(size);
        slots[k][0] = slots[k][size - 1] = 1;
    }
}

int main(int argc, char **argv) {
    long calls = argument(argc, argv, 1, 60000), enough = argument(argc, argv, 3, 4000);
    size_t largest = (size_t)argument(argc, argv, 2, 300000);
    uint64_t random = 1;
    traffic(calls / 3, largest, &random);
    long settled = mappings();
    traffic(calls, largest, &random);
    long later = mappings();
    check(later <= enough, "%d live blocks take %ld mappings", SLOTS, later);
    check(later <= settled * 2 + 200, "%ld mappings became %ld, of as many live blocks", settled,
          later);
    return 0;
}
