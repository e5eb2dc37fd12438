// A buffer with two owners, and both free it: found by what frees no live block.
#include <cstdlib>
#include <vector>

struct Connection {
    std::vector<char *> sent;
    void close_all() {
        for (char *buffer : sent)
            free(buffer);
        sent.clear();
    }
};

struct Cache {
    std::vector<char *> kept;
    __attribute__((noinline)) ~Cache() {
        for (char *buffer : kept)
            free(buffer);
    }
};

__attribute__((noinline)) static char *make_body(int number) {
    return static_cast<char *>(malloc(1000 + number));
}

int main() {
    Cache cache;
    Connection connection;
    for (int i = 0; i < 100; i++) {
        char *body = make_body(i);
        connection.sent.push_back(body);
        if (i % 40 == 7)
            cache.kept.push_back(body);
    }
    connection.close_all();
}
