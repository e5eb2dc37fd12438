// A lookup that builds a string for each call: found by what is freed at once.
#include <map>
#include <string>

static std::map<std::string, int> settings = {
    {"server.listen.address.of.the.first.interface", 1},
    {"server.listen.address.of.the.second.interface", 2},
};

__attribute__((noinline)) static int setting(const std::string &name) {
    auto found = settings.find(name);
    return found == settings.end() ? 0 : found->second;
}

__attribute__((noinline)) static int serve(int number) {
    // A literal becomes a string, on the heap, each time.
    return number % 2 ? setting("server.listen.address.of.the.first.interface")
                      : setting("server.listen.address.of.the.second.interface");
}

int main() {
    int sum = 0;
    for (int i = 0; i < 3000; i++)
        sum += serve(i);
    return sum == 0;
}
