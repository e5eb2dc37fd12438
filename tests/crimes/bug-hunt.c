/* A shopping list with three bugs, for docs/debugging.md to hunt: it loses two notes, writes over
 * the end of another, and frees one twice. checkpoint() is where a debugger stops in between. */
#include <stdlib.h>
#include <string.h>

struct note {
    struct note *next;
    char text[56];
};

static struct note *volatile tea, *volatile wine, *volatile cake;

void checkpoint(void);
__attribute__((noinline)) void checkpoint(void) { __asm__ volatile("" ::: "memory"); }

static struct note *note_make(const char *text, struct note *next) {
    struct note *note = malloc(sizeof *note);
    strcpy(note->text, text);
    note->next = next;
    return note;
}

static void notes_make(void) {
    tea = note_make("tea", NULL);
    note_make("milk", note_make("eggs", NULL)); /* bug 1: nobody keeps where they are */
    wine = note_make("wine", NULL);
    cake = note_make("cake", NULL);
}

/* Clears the stack, where old pointers to lost blocks may be left. */
static void stack_clear(void) {
    char old[4096];
    memset(old, 0, sizeof old);
    __asm__ volatile("" ::"r"(old) : "memory");
}

int main(void) {
    notes_make();
    stack_clear();
    checkpoint();
    free(cake);
    strcpy(wine->text, "a bottle of red wine, a bottle of white wine, and a corkscrew"); /* bug 2 */
    checkpoint();
    free(tea);
    free(tea); /* bug 3 */
    return 0;
}
