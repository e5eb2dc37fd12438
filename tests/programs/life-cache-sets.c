/* Large blocks of one size do not all begin in the same cache set. If they did, a program
 * that reads several of them in step would have room in the cache for eight or twelve.
 *
 *     life-cache-sets [bytes of a block]
 */
#include "life.h"

enum { BLOCKS = 48, LINE = 64, SETS = 4096 / LINE };

int main(int argc, char **argv) {
    size_t size = (size_t)argument(argc, argv, 1, 60000);
    int in_set[SETS] = {0}, used = 0, most = 0;
    for (int i = 0; i < BLOCKS; i++)
        in_set[(uintptr_t)must_malloc(size) % 4096 / LINE]++;
    for (int i = 0; i < SETS; i++) {
        used += in_set[i] > 0;
        most = in_set[i] > most ? in_set[i] : most;
    }
    say("%d blocks of %zu bytes begin in %d of %d sets, at most %d in one", BLOCKS, size, used, SETS,
        most);
    check(used >= 8 && most <= 16, "%d blocks begin in %d sets, %d of them in one", BLOCKS, used, most);
    return 0;
}
