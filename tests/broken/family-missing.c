/* semantics/family: aligned blocks are left to the C library, and so reach the wrong free. */
#define WITHOUT_ALIGNED
#include "base.h"
