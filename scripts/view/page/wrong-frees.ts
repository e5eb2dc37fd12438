// Lists frees of pointers to no live block: who freed, and who had allocated the block that was there.

import { stackOf } from '../calltree.ts';
import type { HeapModel } from '../model.ts';
import { bytes, count, element, hex } from './elements.ts';

/** Empty if no such free has a known caller. */
export function wrongFrees(model: HeapModel): HTMLElement[] {
  const known = model.facts.wrongFrees.filter(({ stack }) => stack > 0);
  if (known.length === 0) return [];
  const items = known.map(({ at, address, stack }) => {
    const before = model.blockAt(model.placeOf(address), at);
    const block = before === undefined ? undefined : model.block(before);
    const lines = [`call ${count(at)} frees ${hex(address)}: ${callers(model, stack)}`];
    if (block?.address === address && block.stack > 0)
      lines.push(
        `the block there, of ${bytes(block.size)}, was freed by call ${count(block.death + 1)} and allocated by ${callers(model, block.stack)}`,
      );
    return element('li', {}, ...lines.map((line) => element('div', {}, line)));
  });
  return [
    element(
      'details',
      { class: 'strays', open: '' },
      element('summary', {}, 'Frees of pointers to no live block'),
      element('ul', { class: 'scrolled' }, ...items),
    ),
  ];
}

/** The stack on one line, innermost first, without the callers of main. */
function callers(model: HeapModel, node: number): string {
  const names = stackOf(model, node);
  const main = names.findIndex((name) => /^main\b/.test(name));
  return (main < 0 ? names : names.slice(0, main + 1)).slice(0, 6).join(' ← ');
}
