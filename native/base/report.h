/* report.h: the record by which `libmalloc run` learns which malloc a process used.
 *
 * With LIBMALLOC_REPORT=PREFIX in the environment, every process writes
 * PREFIX.PID, also after fork and after exec. The file is a shared mapping, so what
 * was written to it survives _exit and kill. `libmalloc run` reads it
 * (scripts/malloc/proof.ts). The programs that a process starts, or becomes by exec, are
 * appended to PREFIX-starts (scripts/malloc/unreached.ts).
 */
#pragma once

#include "platform.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum { REPORT_VERSION = 1, REPORT_PATH = 1024 };
enum report_call { REPORT_MALLOC, REPORT_CALLOC, REPORT_REALLOC, REPORT_FREE, REPORT_CALLS };

/* Little-endian, no padding; `size` is the whole record's, so that a reader can
 * tell a longer, later version from a cut one. Paths end in a zero byte. */
struct report {
    char magic[8]; /* "LMREPORT", written last: the record is complete */
    uint32_t version;
    uint32_t size;
    uint32_t pid;
    uint32_t reserved;
    char executable[REPORT_PATH];
    char provider[REPORT_CALLS][REPORT_PATH]; /* the file that provides each call */
};
static_assert(offsetof(struct report, executable) == 24, "a fixed format");
static_assert(sizeof(struct report) == 24 + 5 * REPORT_PATH, "a fixed format");

/* One start in PREFIX-starts: kind, pid, blank, name of the starter, newline, program, zero byte.
 * REPORT_FAILED takes back the last one of that pid: exec has returned. */
enum report_start { REPORT_KEPT = 'k', REPORT_CLEARED = 'c', REPORT_FAILED = 'f' };
