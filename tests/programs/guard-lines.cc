// guard-lines: frees a block twice, in an inlined function of a namespace. The process that finds source
// lines must be none of ours: no SIGCHLD, and nothing to wait for. Says so on standard output.
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <sys/wait.h>
#include <unistd.h>

namespace shop {

struct basket {
    void *block;
};

__attribute__((always_inline)) inline void throw_away(basket &b) { std::free(b.block); }

__attribute__((noinline)) void close(basket &b) {
    throw_away(b);
    throw_away(b); // the second time
    __asm__ volatile("" ::: "memory");
}

} // namespace shop

static volatile sig_atomic_t children;

extern "C" void child_ended(int) { children = children + 1; }

extern "C" void aborted(int) {
    bool none = waitpid(-1, nullptr, WNOHANG | __WALL) == -1 && errno == ECHILD;
    const char *said = children ? "SIGCHLD came\n" : none ? "no child\n" : "a child is left\n";
    size_t length = 0;
    while (said[length])
        length++;
    if (write(STDOUT_FILENO, said, length) < 0)
        _exit(1);
}

int main() {
    signal(SIGCHLD, child_ended);
    signal(SIGABRT, aborted);
    shop::basket b = {std::malloc(100)};
    shop::close(b);
    return 0;
}
