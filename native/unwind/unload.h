/* unload.h: after dlclose, another library may be mapped at the same addresses, with other frames. So a
 * tool that walks over stacks wraps dlclose, too.
 */
#pragma once

#include <dlfcn.h>

#include "unwind.h"

EXPORT int dlclose(void *library) {
    static int (*libc)(void *);
    if (!libc) {
        void *found = dlsym(RTLD_NEXT, "dlclose");
        memcpy(&libc, &found, sizeof found);
    }
    int status = libc(library);
    unwind_forget();
    return status;
}
