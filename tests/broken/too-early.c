/* process/early-preinit: before its constructor has run there is no memory yet. */
#define MALLOC unborn_malloc
#define REALLOC unborn_realloc
#include "base.h"

static bool begun;
__attribute__((constructor)) static void begin(void) { begun = true; }

void *unborn_malloc(size_t size) { return begun ? honest_malloc(size) : os_refuse(); }
void *unborn_realloc(void *p, size_t size) { return begun ? honest_realloc(p, size) : os_refuse(); }
