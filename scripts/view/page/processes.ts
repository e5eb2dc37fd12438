// Shows the processes of a trace as a tree, each below the one that started it; a click opens one.

import type { ProcessFacts } from '../data.ts';
import { bytes, count, element } from './elements.ts';
import type { Source } from './load.ts';

/** A longer list is folded at first. */
const OPEN = 12;

/** Undefined if there is only one process. A click calls `open`. */
export function processTree(
  sources: readonly Source[],
  shown: Source,
  open: (source: Source) => void,
): HTMLElement | undefined {
  if (sources.length < 2) return undefined;
  const children = new Map<number, Source[]>();
  const numbers = new Set(sources.map(({ facts }) => facts.number));
  for (const source of [...sources].sort((a, b) => a.facts.number - b.facts.number)) {
    const starter = numbers.has(source.facts.starter) ? source.facts.starter : 0;
    const list = children.get(starter);
    if (list) list.push(source);
    else children.set(starter, [source]);
  }
  const list = (starter: number): HTMLElement[] => {
    const started = children.get(starter) ?? [];
    if (started.length === 0) return [];
    const items = started.map((source) =>
      element('li', {}, button(source, source === shown, open), ...list(source.facts.number)),
    );
    return [element('ul', {}, ...items)];
  };
  const total = `${count(sources.length)} processes; shown: ${shown.facts.name} (${shown.facts.pid})`;
  const details = element(
    'details',
    { class: 'processes' },
    element('summary', {}, total),
    element('div', { class: 'scrolled' }, ...list(0)),
  );
  details.open = sources.length <= OPEN;
  return details;
}

function button(source: Source, shown: boolean, open: (source: Source) => void): HTMLElement {
  const { name, pid, calls, peakBytes, command }: ProcessFacts = source.facts;
  const made = element(
    'button',
    { type: 'button', title: command, ...(shown && { 'aria-current': 'true' }) },
    element('b', {}, name),
    ` ${pid} · ${count(calls)} calls · peak ${bytes(peakBytes)}`,
  );
  made.addEventListener('click', () => open(source));
  return made;
}
