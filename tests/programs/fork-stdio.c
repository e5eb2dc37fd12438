/* fork while three threads would wait for each other in a ring if fork held malloc's lock:
 *
 *     one is in fflush(NULL): it holds stdio's list and waits for a stream,
 *     one is in getline: it holds that stream and needs memory for the line,
 *     one is in fork: libc waits there for stdio's list, after our handlers ran.
 *
 * The line arrives while fork waits, and all three come to an end.
 *
 *     fork-stdio [rounds] [length of the line]
 */
#include "program.h"

static FILE *stream;
static int ends[2];
static atomic_bool reading, forking;
static size_t length;

static void nap(long milliseconds) {
    nanosleep(&(struct timespec){.tv_nsec = milliseconds * 1000000}, NULL);
}

static void *read_line(void *arg) {
    (void)arg;
    char *line = NULL;
    size_t room = 0;
    reading = true;
    ssize_t got = getline(&line, &room, stream);
    check(got == (ssize_t)length + 1, "getline: %zd", got);
    free(line);
    return NULL;
}

static void *flush_all(void *arg) {
    (void)arg;
    fflush(NULL);
    return NULL;
}

/* First the newline is missing, so that getline has to grow its buffer and read on. */
static void *write_line(void *arg) {
    (void)arg;
    while (!forking)
        nap(1);
    nap(60);
    char *line = must_malloc(length + 1);
    memset(line, 'x', length);
    line[length] = '\n';
    for (size_t done = 0; done < length + 1;) {
        ssize_t put = write(ends[1], line + done, length + 1 - done);
        check(put > 0, "write: %s", strerror(errno));
        done += (size_t)put;
    }
    free(line);
    return NULL;
}

static void round_once(void) {
    check(pipe(ends) == 0, "pipe: %s", strerror(errno));
    stream = fdopen(ends[0], "r");
    check(stream, "fdopen failed");
    reading = forking = false;
    pthread_t reader = start(read_line, NULL);
    while (!reading)
        nap(1);
    nap(20); /* now it waits inside getline */
    pthread_t flusher = start(flush_all, NULL), writer = start(write_line, NULL);
    nap(20); /* now it waits inside fflush */
    forking = true;
    check_fork("under fflush(NULL)");
    join(reader);
    join(flusher);
    join(writer);
    fclose(stream);
    close(ends[1]);
}

int main(int argc, char **argv) {
    long rounds = argument(argc, argv, 1, 5);
    length = (size_t)argument(argc, argv, 2, 20000);
    for (long i = 0; i < rounds; i++)
        round_once();
    return 0;
}
