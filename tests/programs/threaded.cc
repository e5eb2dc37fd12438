// Four threads of C++ as compilers like it least: virtual calls, lambdas in std::function, maps, streams,
// exceptions. ROUNDS rounds each, 30 by default.

#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

struct Shape {
    virtual ~Shape() = default;
    virtual std::string name(int size) const = 0;
};

struct Square : Shape {
    std::string name(int size) const override {
        std::ostringstream text;
        text << "a square of size " << size << ", with a name that is long enough";
        return text.str();
    }
};

struct Group : Shape {
    std::vector<std::unique_ptr<Shape>> parts;
    explicit Group(int depth) {
        for (int i = 0; i < 2; i++)
            if (depth > 0)
                parts.push_back(std::make_unique<Group>(depth - 1));
            else
                parts.push_back(std::make_unique<Square>());
    }
    std::string name(int size) const override {
        std::string all;
        for (auto &part : parts)
            all += part->name(size);
        if (size % 5 == 0)
            throw std::runtime_error(all);
        return all;
    }
};

static void work(int id, int rounds) {
    std::map<std::string, std::function<std::string(int)>> table;
    for (int i = 0; i < rounds; i++) {
        Group group(4);
        try {
            auto text = group.name(i);
            table[text.substr(0, 40) + std::to_string(i)] = [text](int n) { return text + std::to_string(n); };
        } catch (const std::exception &error) {
            table.erase(error.what());
        }
        for (auto &[name, call] : table)
            if (call(id).empty())
                return;
    }
}

int main(int count, char **words) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++)
        threads.emplace_back(work, i, count > 1 ? std::stoi(words[1]) : 30);
    for (auto &thread : threads)
        thread.join();
}
