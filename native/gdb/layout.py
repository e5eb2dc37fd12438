"""For `libmalloc layout`: prints where the regions and records of a live process's malloc lie, as
JSON."""

import json

import gdb

from .chunks import REGION, SPAN, Broken, Stats
from .commands import open_heap


PAGE = 4096


def merged(ranges):
    """Merges ranges that share a page or touch."""
    found = []
    for start, end in sorted((start // PAGE * PAGE, end) for start, end in ranges):
        if found and start <= found[-1][1]:
            found[-1][1] = max(found[-1][1], end)
        else:
            found.append([start, end])
    return found


def regions():
    """Prints one line: the variant, its regions with their figures, the records outside the regions
    and the library, and what is broken, or None."""
    ours, heap = open_heap()
    found, stats, broken = [], None, None
    try:
        for chunk in heap.walk():
            if chunk.kind == REGION:
                stats = Stats()
                found.append({'start': chunk.start, 'end': chunk.end, 'spans': 0, 'stats': stats})
            elif chunk.kind == SPAN:
                found[-1]['spans'] += 1
            else:
                stats.add(chunk)
    except Broken as error:
        broken = str(error)
    for each in found:
        counted = each.pop('stats')
        each.update(live=counted.live_bytes, blocks=counted.live_blocks, free=counted.free_bytes,
                    fresh=counted.fresh_bytes, headers=counted.header_bytes)
    gdb.write(json.dumps({'variant': ours.variant, 'regions': found, 'broken': broken,
                          'records': merged(heap.records())}) + '\n')
