/* nothing: the base is sound, so that what the others fail is their own defect. */
#include "base.h"
