/* options.h: LIBMALLOC_OPTIONS=KEY=VALUE,…
 *
 *      decay=MS       sharded: unused memory goes back to the system after this time (1000)
 *      huge=0|1       sharded: huge pages for blocks that grow by realloc (1)
 *      limit=BYTES    malloc refuses (ENOMEM) beyond this much memory (limit.h); k, m and g
 *                     stand for 2^10, 2^20 and 2^30 (no limit)
 *      stats=/FILE    a summary at exit, appended to this file; %p is the process id
 *      dump=SIGNAL    a summary at this signal, into the same file or to standard error;
 *                     a name (USR2), or the number of one
 *
 * The variable is read once, by our constructor or by the first call that needs the
 * answer, whichever comes first; until then the defaults hold. It is ignored in setuid
 * programs. The library leaves what is unknown or broken at its default and says
 * nothing; `libmalloc run` and `doctor` refuse it (scripts/malloc/options.ts).
 */
#pragma once

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "../heap.h"

enum { OPTIONS_PATH = 1024 };

static struct options {
    bool read;
    bool huge;
    unsigned decay_ms;
    size_t limit;             /* bytes; SIZE_MAX: none */
    int dump;                 /* the number of the signal; 0: none */
    char stats[OPTIONS_PATH]; /* "": no file */
} options = {.huge = true, .decay_ms = 1000, .limit = SIZE_MAX};

/* ── parsing: a value is what lies between `=` and the next comma ──────────── */

/* Digits, and if `units`, a k, m or g behind them. False if the value is anything else. */
static bool option_number(const char *value, size_t length, bool units, size_t most, size_t *to) {
    size_t number = 0, unit = 1;
    const char *letter = units && length ? strchr("kKmMgG", value[length - 1]) : NULL;
    if (letter) {
        unit = (size_t)1 << 10 * (1 + (letter[0] == 'm' || letter[0] == 'M') +
                                  2 * (letter[0] == 'g' || letter[0] == 'G'));
        length--;
    }
    for (size_t i = 0; i < length; i++)
        if (value[i] < '0' || value[i] > '9' || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (size_t)(value[i] - '0'), &number))
            return false;
    if (!length || __builtin_mul_overflow(number, unit, &number) || number > most)
        return false;
    *to = number;
    return true;
}

/* The signals that dump= accepts: those that end a program or do nothing unless it handles
 * them. Signals of faults and those that cannot be handled are left out. */
static const struct {
    char name[8];
    int number;
} option_signals[] = {
    {"HUP", SIGHUP},   {"INT", SIGINT},   {"QUIT", SIGQUIT}, {"USR1", SIGUSR1},
    {"USR2", SIGUSR2}, {"ALRM", SIGALRM}, {"TERM", SIGTERM}, {"URG", SIGURG},
    {"WINCH", SIGWINCH}, {"IO", SIGIO},   {"PWR", SIGPWR},
};

static bool option_signal(const char *value, size_t length, int *to) {
    size_t number = 0;
    bool named = !option_number(value, length, false, 64, &number);
    if (named && length > 3 && strncmp(value, "SIG", 3) == 0)
        value += 3, length -= 3;
    for (size_t i = 0; i < sizeof option_signals / sizeof *option_signals; i++) {
        const char *name = option_signals[i].name;
        if (named ? strlen(name) == length && strncmp(name, value, length) == 0
                  : option_signals[i].number == (int)number) {
            *to = option_signals[i].number;
            return true;
        }
    }
    return false;
}

/* Accepts absolute paths only, because the program may change its working directory. */
static void option_path(const char *value, size_t length) {
    if (*value != '/' || length >= sizeof options.stats)
        return;
    memcpy(options.stats, value, length);
    options.stats[length] = '\0';
}

static void option_set(const char *key, size_t known, const char *value, size_t length) {
    size_t number;
    if (known == 5 && memcmp(key, "decay", 5) == 0) {
        if (option_number(value, length, false, UINT32_MAX, &number))
            options.decay_ms = (unsigned)number;
    } else if (known == 4 && memcmp(key, "huge", 4) == 0) {
        if (option_number(value, length, false, 1, &number))
            options.huge = number;
    } else if (known == 5 && memcmp(key, "limit", 5) == 0) {
        if (option_number(value, length, true, PTRDIFF_MAX, &number) && number)
            options.limit = number;
    } else if (known == 5 && memcmp(key, "stats", 5) == 0) {
        option_path(value, length);
    } else if (known == 4 && memcmp(key, "dump", 4) == 0) {
        option_signal(value, length, &options.dump);
    }
}

/* Allocates nothing. Before libc has set up the environment it does nothing, and the next call
 * tries again. */
static COLD void options_read(void) {
    if (options.read || !environ)
        return;
    options.read = true;
    const char *option = secure_getenv("LIBMALLOC_OPTIONS");
    while (option) {
        size_t length = strcspn(option, ","), known = strcspn(option, "=");
        if (known < length)
            option_set(option, known, option + known + 1, length - known - 1);
        option = option[length] ? option + length + 1 : NULL;
    }
}

__attribute__((constructor)) static void options_begin(void) { options_read(); }
