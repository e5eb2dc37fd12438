/* Deletes an array as if it were one object. */
#include "crime.hh"

int main() {
    delete hidden(new char[100]);
    return 0;
}
