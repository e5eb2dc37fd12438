/* tell-signals.c: prints which signals reach it, one a line. SIGUSR2 ends it with status 7.
 * SIGTSTP stops it as usual. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

int main(void) {
    static const struct {
        int number;
        const char *name;
    } known[] = {{SIGINT, "INT"},   {SIGTERM, "TERM"}, {SIGHUP, "HUP"},     {SIGQUIT, "QUIT"},
                 {SIGUSR1, "USR1"}, {SIGUSR2, "USR2"}, {SIGWINCH, "WINCH"}, {SIGCONT, "CONT"}};
    sigset_t wanted;
    sigemptyset(&wanted);
    for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
        sigaddset(&wanted, known[i].number);
    sigprocmask(SIG_BLOCK, &wanted, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("ready %d\n", (int)getpid());
    for (int got; sigwait(&wanted, &got) == 0;) {
        for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
            if (known[i].number == got)
                printf("got %s\n", known[i].name);
        if (got == SIGUSR2)
            return 7;
    }
    return 1;
}
