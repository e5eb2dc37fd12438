// A reference to an element of a vector, kept while the vector grows: the write goes to freed memory.
#include <vector>

extern "C" void checkpoint();
extern "C" __attribute__((noinline)) void checkpoint() { __asm__ volatile("" ::: "memory"); }

struct Account {
    long number, balance;
};

static std::vector<Account> accounts;
static Account *volatile current;

__attribute__((noinline)) static void open_account(long number) {
    accounts.push_back({number, 0});
}

int main() {
    for (long number = 1; number <= 4; number++)
        open_account(number);
    current = &accounts[0];
    open_account(5); // moves all of them
    current->balance += 100;
    checkpoint();
    return 0;
}
