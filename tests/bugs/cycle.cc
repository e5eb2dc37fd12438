// Two sessions own each other by std::shared_ptr, so neither is ever freed.
#include <cstring>
#include <memory>

extern "C" void checkpoint();
extern "C" __attribute__((noinline)) void checkpoint() { __asm__ volatile("" ::: "memory"); }

struct Session {
    std::shared_ptr<Session> peer;
    char user[80] = "";
};

__attribute__((noinline)) static std::shared_ptr<Session> connect_pair() {
    auto one = std::make_shared<Session>(), other = std::make_shared<Session>();
    one->peer = other;
    other->peer = one; // should be a weak_ptr
    return one;
}

// Clears the stack, where old pointers to lost blocks may be left.
__attribute__((noinline)) static void stack_clear() {
    char old[4096];
    memset(old, 0, sizeof old);
    __asm__ volatile("" ::"r"(old) : "memory");
}

int main() {
    for (int i = 0; i < 20; i++)
        connect_pair();
    stack_clear();
    checkpoint();
    return 0;
}
