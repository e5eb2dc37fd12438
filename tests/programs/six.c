/* A bump allocator of six instructions a pair, five in malloc and one in free, written in assembly
 * so that no compiler changes the number: a count of instructions must find six. Build with
 * -shared -fPIC. */
static char pool[16 << 20] __attribute__((used));
__attribute__((visibility("hidden"), used)) char *six_next = pool;

__asm__(".globl malloc, free\n"
        ".type malloc, @function\n"
        ".type free, @function\n"
        "malloc:\n"
        "    mov six_next(%rip), %rax\n"
        "    lea 15(%rax, %rdi), %rdx\n"
        "    and $-16, %rdx\n"
        "    mov %rdx, six_next(%rip)\n"
        "    ret\n"
        "free:\n"
        "    ret\n");
