/*
 * containers --kind map|unordered_map|string|vector|list [--threads N]: the containers of C++ at
 * work.
 *
 * Stands for: what most C++ programs allocate: nodes of one size by the thousand, tables that
 * are rebuilt twice as large, strings beyond the size that fits into the object.
 * Shows: the price of a node, and whether neighbours in a container are neighbours in memory,
 * because the containers are also walked.
 *
 * Every kind keeps COUNT elements alive and replaces random ones.
 */
#include <list>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>
#include "program.h"

namespace {

constexpr uint32_t COUNT = 50000;

uint32_t steps, keys;

/* Keys are inserted and erased; half of all possible keys are present at any time. */
template <class Map> uint64_t maps(uint64_t *seed)
{
    Map map;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < steps; i++) {
        uint32_t key = draw(seed, 2 * keys) * 0x9e3779b1;
        if (map.erase(key) == 0)
            map.emplace(key, i);
    }
    for (const auto &entry : map)
        sum += entry.first * uint64_t{entry.second};
    return sum;
}

uint64_t strings(uint64_t *seed)
{
    std::vector<std::string> table(keys);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < steps; i++) {
        std::string &old = table[draw(seed, keys)], text = "/user/" + std::to_string(i);
        text += std::string(size_drawn(seed) % 200, char('a' + i % 26)) + old.substr(0, 12);
        sum += old.size() * uint64_t{i} + text.find('a' + i % 26);
        old = std::move(text);
    }
    return sum;
}

uint64_t vectors(uint64_t *seed)
{
    std::vector<std::vector<uint32_t>> rows(keys / 10 + 1);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < steps; i++) {
        auto &row = rows[draw(seed, uint32_t(rows.size()))];
        if (row.size() >= 4 + i % 300) {
            for (uint32_t value : row)
                sum += value;
            row = {};
        }
        row.push_back(i);
        row.push_back(~i);
    }
    return sum;
}

uint64_t lists(uint64_t *seed)
{
    std::vector<std::list<uint64_t>> queues(100);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < keys; i++)
        queues[i % 100].push_back(i);
    for (uint32_t i = 0; i < steps; i++) {
        auto &from = queues[draw(seed, 100)], &to = queues[draw(seed, 100)];
        if (!from.empty()) {
            sum += from.front() * i;
            from.pop_front();
        }
        to.push_back(i);
        to.insert(to.begin(), sum);
        if (to.size() > 2 * keys / 100)
            to.clear();
    }
    return sum;
}

uint64_t (*kind)(uint64_t *seed);

void work(struct worker *worker) { worker->sum = kind(&worker->seed); }

} // namespace

int main(int argc, char **argv)
{
    const std::map<std::string, std::pair<uint64_t (*)(uint64_t *), uint32_t>> kinds = {
        {"map", {maps<std::map<uint32_t, uint32_t>>, 2000000}},
        {"unordered_map", {maps<std::unordered_map<uint32_t, uint32_t>>, 8000000}},
        {"string", {strings, 2000000}},
        {"vector", {vectors, 60000000}},
        {"list", {lists, 5000000}},
    };
    auto chosen = kinds.find(option(argc, argv, "--kind", "map"));
    if (chosen == kinds.end())
        return 2;
    uint32_t threads = option_number(argc, argv, "--threads", 1);
    kind = chosen->second.first;
    steps = scaled(argc, argv, chosen->second.second) / threads;
    keys = scaled(argc, argv, COUNT) / threads + 1;
    sizes_begin(1024);
    return finish(workers_run(threads, work));
}
