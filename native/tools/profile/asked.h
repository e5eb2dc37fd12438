/* asked.h: what LIBMALLOC_PROFILE asks for. */
#pragma once

#include <signal.h>

#include "sums.h"

enum { EVERY = 512 * 1024 };

static bool is_word(const char *text, size_t length, const char *word) {
    return strlen(word) == length && memcmp(text, word, length) == 0;
}

static int signal_number(const char *text, size_t length) {
    static const struct {
        char name[8];
        int number;
    } names[] = {{"HUP", SIGHUP}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"URG", SIGURG},
                 {"WINCH", SIGWINCH}, {"IO", SIGIO}, {"PWR", SIGPWR}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (is_word(text, length, names[i].name))
            return names[i].number;
    return 0;
}

/* `every=1000,seconds=5,signal=USR1,/path`: words, then a path from the root. */
static bool options_read(const char *text) {
    profile.every = EVERY;
    for (; *text && *text != '/'; text += strcspn(text, ",") + 1) {
        size_t length = strcspn(text, ",");
        if (text[length] != ',')
            return false;
        if (is_word(text, length, "all"))
            profile.every = 0;
        else if (is_word(text, length, "roots"))
            profile.rooted = true;
        else if (strncmp(text, "every=", 6) == 0)
            profile.every = strtoul(text + 6, NULL, 10);
        else if (strncmp(text, "seconds=", 8) == 0)
            profile.moment_every = strtoul(text + 8, NULL, 10);
        else if (strncmp(text, "signal=", 7) != 0 ||
                 !(profile.signal = signal_number(text + 7, length - 7)))
            return false;
    }
    if (*text != '/' || strlen(text) >= sizeof file.path)
        return false;
    strcpy(file.path, text);
    return true;
}
