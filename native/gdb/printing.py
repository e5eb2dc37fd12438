"""Prints for all commands: addresses in hex, sizes in decimal, colours on a terminal only."""

import os

import gdb

LINES_AT_ONCE = 1000
MANY = 20  # the most rows that a list shows without `all`


def print_rows(heading, rows):
    """Prints columns: text left-aligned, numbers right-aligned. Omits a column with empty cells only."""
    kept = [i for i, head in enumerate(heading) if not head or any(row[i] != '' for row in rows)]
    heading, rows = [heading[i] for i in kept], [[row[i] for i in kept] for row in rows]
    table = [[str(cell) for cell in row] for row in (heading, *rows)]
    widths = [max(map(len, column)) for column in zip(*table)]
    right = [all(isinstance(row[i], int) or row[i] == '' for row in rows)
             for i in range(len(heading))]
    form = ''.join(f'  %{"" if to_right else "-"}{width}s'
                   for width, to_right in zip(widths, right))
    for i in range(0, len(table), LINES_AT_ONCE):
        lines = [(form % tuple(row)).rstrip() for row in table[i:i + LINES_AT_ONCE]]
        gdb.write('\n'.join(lines) + '\n')


def print_shares(stats):
    if stats.mapped:
        gdb.write(f'  {stats.in_use:.1f} % of the mapped bytes are live\n')
    if stats.unused:
        gdb.write(f'  fragmentation {stats.fragmentation:.1f} %: of {stats.unused} unused bytes '
                  f'the largest piece has {stats.largest}\n')


def print_labelled(rows):
    width = max((len(label) for label, _ in rows), default=0)
    for label, text in rows:
        gdb.write(f'  {label.ljust(width)}  {text}\n')


def print_notes(heap):
    for note in heap.notes():
        gdb.write(f'  note: {note}\n')


def print_broken(broken):
    gdb.write(f'broken: {broken}\n')
    print_labelled(broken.rows)


def print_many(heading, rows, everything, how):
    """Prints the first rows of a list, and how to see the rest."""
    print_rows(heading, rows if everything else rows[:MANY])
    if len(rows) > MANY and not everything:
        gdb.write(f'  … and {len(rows) - MANY} more: `{how}`\n')


def print_groups(heading, rows, keys, sizes, how):
    """Prints a row for each group of rows with the same key, the most bytes first."""
    groups = {}
    for row, key, size in zip(rows, keys, sizes):
        group = groups.setdefault(key, [0, 0, row])
        group[0] += 1
        group[1] += size
    ordered = sorted(groups.items(), key=lambda each: -each[1][1])
    print_rows(('count', 'bytes', *heading), [
        (n, size, *key) for key, (n, size, _) in ordered[:MANY]])
    if len(ordered) > MANY:
        gdb.write(f'  … and {len(ordered) - MANY} more groups\n')
    gdb.write(f'  one by one: `{how}`\n')


def colours():
    """True if colour is enabled and output goes to a terminal."""
    return bool(gdb.parameter('style enabled')) and os.isatty(1) and not os.environ.get('NO_COLOR')
