// What a C++ compiler is given: the usual headers, and N instances of a template that uses them.
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

template <int I> struct Item {
    std::string name = "item " + std::to_string(I);
    std::vector<std::shared_ptr<Item>> parts;
    bool operator<(const Item &other) const { return name < other.name; }
};

template <int I> int use(int seed)
{
    std::map<std::string, Item<I>> table;
    std::vector<std::function<int(int)>> steps;
    for (int i = 0; i < seed; i++) {
        table[std::to_string(i)].parts.push_back(std::make_shared<Item<I>>());
        steps.push_back([&table, i](int x) { return x + int(table.size()) * i; });
    }
    std::sort(steps.begin(), steps.end(), [](auto &a, auto &b) { return a(I) < b(I); });
    auto add = [](int sum, auto &step) { return sum + step(I); };
    return std::accumulate(steps.begin(), steps.end(), I, add);
}

template <int... I> int use_all(int seed, std::integer_sequence<int, I...>)
{
    return (0 + ... + use<I>(seed));
}

int main(int argc, char **)
{
    return use_all(argc, std::make_integer_sequence<int, N>());
}
