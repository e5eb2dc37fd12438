/* Preloaded after a malloc under test: when the program crashes or aborts, or the alarm of die_after
 * (program.h) ends it, prints where it was, innermost frame first:
 *
 *     witness: SIGSEGV /tmp/mine.so+0x12ab /tmp/mine.so+0x1407 /tmp/case+0x99e
 *
 * Then the signal ends the program. Nothing here allocates, nor do the unwinder and dladdr.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <unwind.h>

enum { FRAMES = 30, ROOM = 6000 };

/* One line, written at once: several threads may crash. */
struct line {
    char text[ROOM];
    size_t length;
    int seen;
};

static void add(struct line *line, const char *text) {
    size_t length = strlen(text);
    if (length > ROOM - 2 - line->length)
        return;
    memcpy(line->text + line->length, text, length);
    line->length += length;
}

static _Unwind_Reason_Code frame(struct _Unwind_Context *context, void *arg) {
    struct line *line = arg;
    char text[300];
    uintptr_t address = _Unwind_GetIP(context);
    Dl_info found;
    if (++line->seen > FRAMES)
        return _URC_END_OF_STACK;
    if (!address || !dladdr((void *)address, &found) || !found.dli_fname)
        return _URC_NO_REASON;
    snprintf(text, sizeof text, " %s+%#lx", found.dli_fname,
             (unsigned long)(address - (uintptr_t)found.dli_fbase));
    add(line, text);
    return _URC_NO_REASON;
}

static const struct {
    int number;
    const char *name;
} deaths[] = {
    {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},   {SIGILL, "SIGILL"},
    {SIGABRT, "SIGABRT"}, {SIGTRAP, "SIGTRAP"}, {SIGALRM, "SIGALRM"},
};
enum { DEATHS = sizeof deaths / sizeof *deaths };

void witness(int number) {
    struct line line = {.length = 0};
    add(&line, "witness: ");
    for (int i = 0; i < DEATHS; i++)
        if (deaths[i].number == number)
            add(&line, deaths[i].name);
    _Unwind_Backtrace(frame, &line);
    add(&line, "\n");
    if (write(STDERR_FILENO, line.text, line.length) < 0) { /* it is closed */
    }
    signal(number, SIG_DFL);
    raise(number);
}

/* On a stack of its own, because a malloc that calls itself may have used up the other one. */
__attribute__((constructor)) static void stand_by(void) {
    static char room[1 << 16];
    sigaltstack(&(stack_t){.ss_sp = room, .ss_size = sizeof room}, NULL);
    struct sigaction handler = {.sa_handler = witness, .sa_flags = SA_ONSTACK | SA_NODEFER};
    for (int i = 0; i < DEATHS; i++) {
        struct sigaction before;
        sigaction(deaths[i].number, NULL, &before);
        if (before.sa_handler == SIG_DFL && deaths[i].number != SIGALRM)
            sigaction(deaths[i].number, &handler, NULL);
    }
}
