/* unload.h: after dlclose, another library may come to lie where one was, with other frames. So whoever
 * walks over stacks stands in front of dlclose, too.
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
