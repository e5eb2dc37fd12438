/* rules.h: what the unwind tables (.eh_frame) say about one address in the code, in 64 bits.
 *
 * To go from a function to its caller we need three numbers: where the frame of the function ends
 * (the CFA, which is the caller's stack pointer), where the return address lies, and where the
 * caller's frame pointer lies. For almost every call in every program these are a register and
 * small constants:
 *
 *     63                40 39         24 23          8 7     6    5  4   3        2    0
 *     ┌───────────────────┬─────────────┬─────────────┬─────┬────────┬────────┬─────────┐
 *     │ cfa: bytes        │ pc: words   │ fp: words   │ JIT │ fp is  │ signal │ kind    │
 *     │                   │             │             │     │ …_at   │        │ of CFA  │
 *     └───────────────────┴─────────────┴─────────────┴─────┴────────┴────────┴─────────┘
 *
 * Only the tables of our own process are read, which the linker made; a table that we do not
 * understand gives RULE_NONE, and the walk goes on by frame pointers.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define UNWIND_UNUSED __attribute__((unused))

enum rule_kind {
    RULE_NONE,     /* nothing is known */
    RULE_SP,       /* CFA = stack pointer + cfa */
    RULE_FP,       /* CFA = frame pointer + cfa */
    RULE_SP_DEREF, /* CFA = what lies at stack pointer + cfa: signal frames on x86-64 */
    RULE_FP_DEREF, /* CFA = what lies at frame pointer + cfa: frames that gcc has realigned */
    RULE_PLT,      /* CFA = stack pointer + 8, or + 16 in the second half of a PLT entry */
    RULE_END,      /* the outermost frame */
    RULE_CHAIN,    /* code without tables: the frame pointer leads to the caller's, if anything does */
};

/* Where the caller's frame pointer (fp_at) or the return address (pc_at) lies. */
enum rule_at { RULE_SAME, RULE_AT_CFA, RULE_AT_SP, RULE_AT_FP };

struct rule {
    int32_t cfa;            /* bytes */
    int16_t pc, fp;         /* words of 8 bytes */
    uint8_t kind, fp_at;    /* enum rule_kind, enum rule_at */
    bool pc_at_sp;          /* the return address lies at the stack pointer + pc, not at the CFA */
    bool signal;            /* the caller was interrupted: its address is no return address */
    bool jit;               /* RULE_CHAIN: the code lies in no file */
};

static inline uint64_t rule_pack(struct rule r) {
    return (uint64_t)r.cfa << 40 | (uint64_t)(uint16_t)r.pc << 24 | (uint64_t)(uint16_t)r.fp << 8 |
           (uint64_t)r.jit << 7 | (uint64_t)r.pc_at_sp << 6 | (uint64_t)r.fp_at << 4 |
           (uint64_t)r.signal << 3 | r.kind;
}

static inline struct rule rule_unpack(uint64_t w) {
    return (struct rule){
        .cfa = (int32_t)((int64_t)w >> 40),
        .pc = (int16_t)(w >> 24),
        .fp = (int16_t)(w >> 8),
        .kind = w & 7,
        .fp_at = w >> 4 & 3,
        .pc_at_sp = w >> 6 & 1,
        .signal = w >> 3 & 1,
        .jit = w >> 7 & 1,
    };
}

/* DWARF numbers of the registers: x86-64 has 7 and 6, Arm64 31 and 29, RISC-V 2 and 8. */
static inline unsigned register_sp(void) {
    return (unsigned)__builtin_dwarf_sp_column();
}

static inline unsigned register_fp(void) {
    return register_sp() == 7 ? 6 : register_sp() == 31 ? 29 : 8;
}

/* ── bytes ─────────────────────────────────────────────────────────────────── */

struct bytes {
    const uint8_t *at, *end;
};

static uint64_t bytes_take(struct bytes *b, size_t size) {
    uint64_t value = 0;
    if ((size_t)(b->end - b->at) < size) {
        b->at = b->end;
        return 0;
    }
    memcpy(&value, b->at, size);
    b->at += size;
    return value;
}

static uint64_t bytes_leb(struct bytes *b, bool is_signed) {
    uint64_t value = 0;
    unsigned shift = 0;
    uint8_t byte = 0x80;
    while (byte & 0x80 && b->at < b->end) {
        byte = *b->at++;
        if (shift < 64)
            value |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
    }
    return is_signed && shift < 64 && byte & 0x40 ? value | ~0ull << shift : value;
}

static uint64_t bytes_uleb(struct bytes *b) {
    return bytes_leb(b, false);
}

static int64_t bytes_sleb(struct bytes *b) {
    return (int64_t)bytes_leb(b, true);
}

/* A pointer in one of the encodings of the LSB: DW_EH_PE_…; `data` is the base of datarel. */
static uintptr_t bytes_pointer(struct bytes *b, uint8_t encoding, uintptr_t data) {
    static const uint8_t sizes[16] = {8, 0, 2, 4, 8, 0, 0, 0, 0, 0, 2, 4, 8};
    uintptr_t here = (uintptr_t)b->at;
    uint8_t form = encoding & 15;
    if (encoding == 0xff)
        return 0;
    if (!sizes[form]) { /* 1 and 9: LEB128 */
        return bytes_leb(b, form == 9);
    }
    uint64_t value = bytes_take(b, sizes[form]);
    if (form & 8 && sizes[form] < 8 && value >> (8 * sizes[form] - 1))
        value |= ~0ull << 8 * sizes[form];
    if (value && (encoding & 0x70) == 0x10)
        value += here;
    else if (value && (encoding & 0x70) == 0x30)
        value += data;
    return value;
}

/* ── a table's row ─────────────────────────────────────────────────────────── */

/* Where a register of the caller is. */
struct saved {
    uint8_t at; /* enum rule_at */
    bool undefined, odd;
    int64_t offset;
};

struct row {
    unsigned cfa_register;
    int64_t cfa_offset;
    struct bytes cfa_expression; /* instead, where `at` is no NULL */
    struct saved pc, fp, other;  /* other: of all registers that we do not follow */
};

/* What all functions of one common entry (CIE) share. */
struct common {
    uint64_t code_align;
    int64_t data_align;
    unsigned return_register;
    uint8_t encoding; /* of addresses in its functions' entries */
    bool signal, augmented;
    struct bytes program;
};

static struct saved *row_saved(struct row *row, const struct common *c, uint64_t reg) {
    return reg == c->return_register ? &row->pc : reg == register_fp() ? &row->fp : &row->other;
}

/* `register + offset`, the one form in which compilers and libc use expressions for registers. */
static struct saved saved_by(struct bytes e) {
    unsigned reg = (unsigned)bytes_take(&e, 1) - 0x70; /* DW_OP_breg0 */
    int64_t offset = bytes_sleb(&e);
    bool known = e.at == e.end && (reg == register_sp() || reg == register_fp());
    return (struct saved){
        .at = reg == register_sp() ? RULE_AT_SP : RULE_AT_FP, .odd = !known, .offset = offset};
}

static struct bytes bytes_block(struct bytes *b) {
    uint64_t length = bytes_uleb(b);
    if (length > (uint64_t)(b->end - b->at))
        length = (uint64_t)(b->end - b->at);
    struct bytes block = {b->at, b->at + length};
    b->at += length;
    return block;
}

enum { REMEMBERED = 8 };

struct run {
    const struct common *common;
    struct row row, first, remembered[REMEMBERED];
    unsigned depth;
    uintptr_t at, wanted;
    bool odd; /* an instruction that we do not know */
};

static void run_advance(struct run *r, uint64_t delta) {
    r->at += delta * r->common->code_align;
}

static void run_offset(struct run *r, uint64_t reg, int64_t factored) {
    *row_saved(&r->row, r->common, reg) =
        (struct saved){.at = RULE_AT_CFA, .offset = factored * r->common->data_align};
}

static void run_restore(struct run *r, uint64_t reg) {
    *row_saved(&r->row, r->common, reg) = *row_saved(&r->first, r->common, reg);
}

static void run_cfa(struct run *r, unsigned reg, int64_t offset) {
    r->row.cfa_register = reg;
    r->row.cfa_offset = offset;
    r->row.cfa_expression.at = NULL;
}

/* About registers: DW_CFA_offset_extended … DW_CFA_GNU_negative_offset_extended. */
static void run_register(struct run *r, uint8_t op, struct bytes *b) {
    uint64_t reg = bytes_uleb(b);
    struct saved *saved = row_saved(&r->row, r->common, reg);
    switch (op) {
    case 0x05: run_offset(r, reg, (int64_t)bytes_uleb(b)); break;
    case 0x06: run_restore(r, reg); break;
    case 0x07: *saved = (struct saved){.undefined = true}; break;
    case 0x08: *saved = (struct saved){.at = RULE_SAME}; break;
    case 0x09: /* in another register */
    case 0x14: /* val_offset: the value itself, not where it lies */
    case 0x15: bytes_uleb(b); *saved = (struct saved){.odd = true}; break;
    case 0x10: *saved = saved_by(bytes_block(b)); break;
    case 0x11: run_offset(r, reg, bytes_sleb(b)); break;
    case 0x16: bytes_block(b); *saved = (struct saved){.odd = true}; break;
    case 0x2f: run_offset(r, reg, -(int64_t)bytes_uleb(b)); break;
    default: r->odd = true;
    }
}

/* The rest: addresses, the CFA, remembered rows. */
static void run_other(struct run *r, uint8_t op, struct bytes *b) {
    switch (op) {
    case 0x00: break;
    case 0x01: r->at = bytes_pointer(b, r->common->encoding, 0); break;
    case 0x02: run_advance(r, bytes_take(b, 1)); break;
    case 0x03: run_advance(r, bytes_take(b, 2)); break;
    case 0x04: run_advance(r, bytes_take(b, 4)); break;
    case 0x0a:
        if (r->depth < REMEMBERED)
            r->remembered[r->depth] = r->row;
        r->depth++;
        break;
    case 0x0b:
        if (r->depth > 0 && --r->depth < REMEMBERED)
            r->row = r->remembered[r->depth];
        break;
    case 0x0c: {
        unsigned reg = (unsigned)bytes_uleb(b);
        run_cfa(r, reg, (int64_t)bytes_uleb(b));
        break;
    }
    case 0x0d: run_cfa(r, (unsigned)bytes_uleb(b), r->row.cfa_offset); break;
    case 0x0e: run_cfa(r, r->row.cfa_register, (int64_t)bytes_uleb(b)); break;
    case 0x0f: r->row.cfa_expression = bytes_block(b); break;
    case 0x12: {
        unsigned reg = (unsigned)bytes_uleb(b);
        run_cfa(r, reg, bytes_sleb(b) * r->common->data_align);
        break;
    }
    case 0x13: run_cfa(r, r->row.cfa_register, bytes_sleb(b) * r->common->data_align); break;
    case 0x2d: break; /* Arm64: return addresses are signed from here on, or no longer */
    case 0x2e: bytes_uleb(b); break;
    default: run_register(r, op, b);
    }
}

/* Runs a program until it speaks of addresses behind the wanted one. */
static void run_program(struct run *r, struct bytes b) {
    while (b.at < b.end && !r->odd) {
        uint8_t op = *b.at++, low = op & 0x3f;
        uintptr_t before = r->at;
        struct row row = r->row;
        switch (op >> 6) {
        case 1: run_advance(r, low); break;
        case 2: run_offset(r, low, (int64_t)bytes_uleb(&b)); break;
        case 3: run_restore(r, low); break;
        default: run_other(r, op, &b);
        }
        if (r->at > r->wanted && r->at != before) {
            r->row = row;
            return;
        }
    }
}

/* ── from a row to a rule ──────────────────────────────────────────────────── */

/* The three expressions that compilers, linkers and libc use for a CFA. */
static struct rule rule_of_expression(struct bytes e) {
    static const uint8_t plt[] = {0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22};
    struct rule rule = {.kind = RULE_NONE};
    unsigned reg = (unsigned)bytes_take(&e, 1) - 0x70;
    int64_t offset = bytes_sleb(&e);
    bool sp = reg == register_sp();
    if (!sp && reg != register_fp())
        return rule;
    rule.cfa = (int32_t)offset;
    if (e.end - e.at == 1 && *e.at == 0x06) /* DW_OP_deref */
        rule.kind = sp ? RULE_SP_DEREF : RULE_FP_DEREF;
    else if (e.at == e.end)
        rule.kind = sp ? RULE_SP : RULE_FP;
    else if (sp && offset == 8 && e.end - e.at == sizeof plt && !memcmp(e.at, plt, sizeof plt))
        rule.kind = RULE_PLT;
    return rule;
}

static bool fits(int64_t value, int bits) {
    return value >= -(1ll << (bits - 1)) && value < 1ll << (bits - 1);
}

static struct rule rule_of_row(const struct row *row, bool signal) {
    struct rule rule = {0};
    const struct saved *pc = &row->pc, *fp = &row->fp;
    if (pc->undefined)
        return (struct rule){.kind = RULE_END};
    if (row->cfa_expression.at)
        rule = rule_of_expression(row->cfa_expression);
    else if (row->cfa_register == register_sp() || row->cfa_register == register_fp()) {
        rule.kind = row->cfa_register == register_sp() ? RULE_SP : RULE_FP;
        rule.cfa = (int32_t)row->cfa_offset;
    }
    /* A return address still in a register: only where a signal interrupted a leaf (not x86-64). */
    bool odd = pc->odd || pc->at == RULE_SAME || pc->at == RULE_AT_FP || pc->offset % 8 ||
               fp->offset % 8 || !fits(pc->offset / 8, 16) || !fits(fp->offset / 8, 16) ||
               !fits(rule.cfa, 24);
    if (odd)
        return (struct rule){.kind = RULE_NONE};
    rule.pc = (int16_t)(pc->offset / 8);
    rule.pc_at_sp = pc->at == RULE_AT_SP;
    rule.fp = (int16_t)(fp->offset / 8);
    rule.fp_at = fp->undefined || fp->odd ? RULE_SAME : fp->at;
    rule.signal = signal;
    return rule;
}

/* ── entries ───────────────────────────────────────────────────────────────── */

/* The content of the entry at `at`, without its length; empty for the end of the table. */
static struct bytes entry_at(const uint8_t *at) {
    struct bytes b = {at, at + 12};
    uint64_t length = bytes_take(&b, 4);
    if (length == UINT32_MAX)
        length = bytes_take(&b, 8);
    b.end = b.at + length;
    return b;
}

/* zR, zPLR, zRS …: what the letters of a common entry say. */
static void common_augment(struct common *c, struct bytes *b, const char *letters) {
    if (*letters != 'z')
        return;
    struct bytes data = bytes_block(b);
    c->augmented = true;
    while (*++letters) {
        if (*letters == 'R')
            c->encoding = (uint8_t)bytes_take(&data, 1);
        else if (*letters == 'S')
            c->signal = true;
        else if (*letters == 'L')
            bytes_take(&data, 1);
        else if (*letters == 'P') {
            uint8_t encoding = (uint8_t)bytes_take(&data, 1);
            bytes_pointer(&data, encoding & 0x7f, 0);
        }
    }
}

static bool common_read(struct common *c, const uint8_t *at) {
    struct bytes b = entry_at(at);
    *c = (struct common){0};
    if (bytes_take(&b, 4) != 0) /* a function's entry is no common one */
        return false;
    uint64_t version = bytes_take(&b, 1);
    const char *letters = (const char *)b.at;
    const uint8_t *zero = memchr(b.at, 0, (size_t)(b.end - b.at));
    if (!zero || (version != 1 && version != 3))
        return false;
    b.at = zero + 1;
    c->code_align = bytes_uleb(&b);
    c->data_align = bytes_sleb(&b);
    c->return_register = (unsigned)(version == 1 ? bytes_take(&b, 1) : bytes_uleb(&b));
    common_augment(c, &b, letters);
    c->program = b;
    return *letters == 'z' || !*letters;
}

/* The rule of the function entry (FDE) at `at` for an address; RULE_NONE where the entry is of
 * another function, or says what we do not understand. */
UNWIND_UNUSED static struct rule rule_of_entry(const uint8_t *at, uintptr_t address) {
    struct bytes b = entry_at(at);
    struct common common;
    const uint8_t *here = b.at;
    uint64_t back = bytes_take(&b, 4);
    if (b.at >= b.end || !back || !common_read(&common, here - back))
        return (struct rule){.kind = RULE_NONE};
    uintptr_t start = bytes_pointer(&b, common.encoding, 0);
    uintptr_t size = bytes_pointer(&b, common.encoding & 15, 0);
    if (address - start >= size)
        return (struct rule){.kind = RULE_NONE};
    if (common.augmented)
        bytes_block(&b);
    struct run run = {.common = &common, .at = start, .wanted = UINTPTR_MAX};
    run_program(&run, common.program);
    run.first = run.row;
    run.at = start;
    run.wanted = address;
    run_program(&run, b);
    return run.odd ? (struct rule){.kind = RULE_NONE} : rule_of_row(&run.row, common.signal);
}
