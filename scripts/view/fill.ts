// Writes the page of `view` as one file that needs neither a network nor a server.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { Failure } from '../lib/errors.ts';
import { root } from '../lib/paths.ts';
import { type HeapData, type ProcessFacts, pack } from './data.ts';

/** A process as the page stores it: facts for the list of processes, all else as base64. */
export interface PackedProcess {
  facts: ProcessFacts;
  data: string;
}

export function packProcess(heap: HeapData, starter = 0): PackedProcess {
  const { process, pid, name, command, events, peakBytes } = heap.facts;
  return {
    facts: { number: process, pid, starter, name, command, calls: events, peakBytes },
    data: deflateSync(pack(heap), { level: 6 }).toString('base64'),
  };
}

/**
 * The HTML document that shows these traces side by side; it opens the first process of each. Throws
 * a Failure if the page has not been built.
 */
export function pageOf(traces: readonly (HeapData | readonly PackedProcess[])[]): string {
  const packed = traces.map((trace) => ('facts' in trace ? [packProcess(trace)] : trace));
  const lists = packed.map((processes) => processes.map(({ facts }) => facts));
  const json = JSON.stringify(lists).replaceAll('<', '\\u003c');
  const scripts = [
    `<script type="application/json">${json}</script>`,
    ...packed.flat().map(({ data }) => `<script type="text/x-heap">${data}</script>`),
  ];
  return template().replace('<!-- DATA -->', () => scripts.join('\n'));
}

function template(): string {
  const file = join(root, 'build', 'js', 'view', 'page.html');
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new Failure('the page template build/js/view/page.html has not been built', {
      hint: 'run make',
      cause,
    });
  }
}
