/* stepped.h: makes a call of another thread happen between two chosen instructions of a call.
 *
 * On x86-64 the trap flag stops this thread after each instruction of a call. At the chosen one,
 * another thread makes a call of its own. This thread continues when that call is done or waits
 * for us: the other thread sleeps, or has used SPIN of processor time. Neither depends on the
 * machine's load or on its number of processors. On other processors, and under a debugger,
 * nothing is stepped.
 *
 *     start_other();
 *     for (long place = 1; step(place, take_here, take_there); place++) …
 */
#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdatomic.h>
#include <stdbool.h>

static long step_waits; /* how often the other thread has waited for us, so there is a lock */

#ifdef __x86_64__
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

enum { TRAP_FLAG = 0x100, SPIN = 1000000 /* ns */, GLANCE = 200 /* µs */ };
#define step_on()  __asm__ volatile("pushfq; orq %0, (%%rsp); popfq" ::"i"(TRAP_FLAG) : "cc", "memory")
#define step_off() __asm__ volatile("pushfq; andq %0, (%%rsp); popfq" ::"i"(~TRAP_FLAG) : "cc", "memory")

static struct {
    void (*call)(void);
    sem_t asked, answered;
    atomic_bool begun, done;
    bool there, heard; /* it runs; its answer has been taken */
    clockid_t clock; /* processor time of the thread */
    char stat[64];   /* its file in /proc */
} other;
static long step_place, step_instruction;

static void *be_other(void *arg) {
    snprintf(other.stat, sizeof other.stat, "/proc/self/task/%ld/stat", syscall(SYS_gettid));
    sem_post(&other.answered);
    for (;;) {
        while (sem_wait(&other.asked) != 0) {
        }
        atomic_store(&other.begun, true);
        other.call();
        atomic_store(&other.done, true);
        sem_post(&other.answered);
    }
    return arg;
}

static long other_used(void) {
    struct timespec t = {0, 0};
    clock_gettime(other.clock, &t);
    return t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Does it sleep? Its state follows its name, which ends with the last parenthesis. */
static bool other_sleeps(void) {
    char text[256] = "";
    int fd = open(other.stat, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return true; /* without a /proc it may */
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    const char *name_end = length > 0 ? strrchr(text, ')') : NULL;
    return name_end && name_end[1] && name_end[2] == 'S';
}

/* Is it done before so many microseconds have passed? Sleeps, because a sleeper is woken at once;
 * one that yields waits for every other thread of a busy machine. */
static bool answers_within(long microseconds) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += microseconds * 1000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (sem_timedwait(&other.answered, &until) != 0)
        if (errno == ETIMEDOUT)
            return false;
    return true;
}

static void let_other_act(void) {
    long before = other_used();
    atomic_store(&other.begun, false);
    atomic_store(&other.done, false);
    sem_post(&other.asked);
    while (!answers_within(GLANCE)) {
        bool waits = atomic_load(&other.begun) && (other_sleeps() || other_used() - before > SPIN);
        if (waits && !atomic_load(&other.done)) {
            step_waits++;
            return;
        }
    }
    other.heard = true;
}

/* If SIGTRAP is blocked, the next trap would end the process: nothing is stepped any more. */
static bool blocks_signals(const greg_t *registers) {
    const unsigned char *next = (const unsigned char *)registers[REG_RIP];
    return next[0] == 0x0f && next[1] == 0x05 && registers[REG_RAX] == SYS_rt_sigprocmask;
}

static void stepped(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    if (blocks_signals(registers))
        registers[REG_EFL] &= ~TRAP_FLAG;
    if (++step_instruction != step_place)
        return;
    int saved = errno;
    registers[REG_EFL] &= ~TRAP_FLAG;
    let_other_act();
    errno = saved;
}

/* A debugger would take our SIGTRAP for its own. */
static bool is_debugged(void) {
    char text[2048] = "";
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    close(fd);
    const char *tracer = length > 0 ? strstr(text, "TracerPid:\t") : NULL;
    return tracer && tracer[11] != '0';
}

static void start_other(void) {
    if (is_debugged())
        return;
    pthread_t thread;
    struct sigaction on_trap = {.sa_sigaction = stepped, .sa_flags = SA_SIGINFO};
    sigaction(SIGTRAP, &on_trap, NULL);
    sem_init(&other.asked, 0, 0);
    sem_init(&other.answered, 0, 0);
    other.there = pthread_create(&thread, NULL, be_other, NULL) == 0;
    if (!other.there)
        return;
    pthread_getcpuclockid(thread, &other.clock);
    while (!answers_within(GLANCE)) {
    }
}

/* Calls `here` in this thread, and after so many of its instructions `there` in the other one; both
 * are done when it returns. False if `here` has no such instruction: then `there` was not called. */
static bool step(long place, void (*here)(void), void (*there)(void)) {
    if (!other.there) {
        here();
        return false;
    }
    other.call = there;
    step_place = place;
    step_instruction = 0;
    other.heard = false;
    step_on();
    here();
    step_off();
    bool stopped = step_instruction >= place;
    while (stopped && !other.heard)
        other.heard = answers_within(GLANCE);
    return stopped;
}
#else
static void start_other(void) {}
static bool step(long place, void (*here)(void), void (*there)(void)) {
    (void)place, (void)there;
    here();
    return false;
}
#endif
