// A cache that drops entries and not what they point to: found by what grew between two moments.
#include <cstdlib>
#include <list>
#include <unordered_map>

struct Page {
    char *body;
    char title[40];
};

static std::list<std::pair<int, Page *>> recent;
static std::unordered_map<int, std::list<std::pair<int, Page *>>::iterator> index_of;

__attribute__((noinline)) static Page *fetch_page(int number) {
    Page *page = new Page;
    page->body = static_cast<char *>(malloc(200 + number % 300));
    return page;
}

static void evict() {
    auto last = recent.back();
    index_of.erase(last.first);
    free(last.second->body); // and the page itself?
    recent.pop_back();
}

int main() {
    for (int i = 0; i < 3000; i++) {
        if (recent.size() == 200)
            evict();
        recent.emplace_front(i, fetch_page(i));
        index_of[i] = recent.begin();
    }
}
