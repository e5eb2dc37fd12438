/* Deletes a block with the size of another type, as happens through a base without a virtual destructor. */
#include "crime.hh"

int main() {
    ::operator delete(hidden(::operator new(100)), static_cast<std::size_t>(60));
    return 0;
}
