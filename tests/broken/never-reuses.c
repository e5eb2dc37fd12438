/* structure/reuse: free does nothing at all. */
#define FREE no_free
#include "base.h"

void no_free(void *p) { (void)p; }
