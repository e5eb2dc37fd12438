/* Deletes a block that was allocated with an alignment of 64 bytes as if it had none. */
#include "crime.hh"

int main() {
    ::operator delete(hidden(::operator new(100, static_cast<std::align_val_t>(64))));
    return 0;
}
