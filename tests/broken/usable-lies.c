/* semantics/usable: malloc_usable_size rounds up to more than there is. */
#define USABLE boasting_usable
#include "base.h"

size_t boasting_usable(void *p) { return p ? honest_usable_size(p) + 16 : 0; }
