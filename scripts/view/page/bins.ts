// Draws histograms as tables, so that screen readers can read them.

import type { Bin } from '../data.ts';
import { count, element } from './elements.ts';

/** A bar for each bin; its length is relative to the largest bin. */
export function histogram(title: string, bins: readonly Bin[], name: (value: number) => string) {
  const most = Math.max(1, ...bins.map((bin) => bin.count));
  const rows = bins.map((bin) => {
    const width = `${((100 * bin.count) / most).toFixed(2)}%`;
    const bar = element('div', { class: 'bar', style: `width:${width}` });
    const label = bin.from === 0 ? name(0) : `from ${name(bin.from)}`;
    return element(
      'tr',
      {},
      element('th', { scope: 'row' }, label),
      element('td', { 'aria-hidden': 'true' }, bar),
      element('td', { 'data-value': String(bin.count) }, count(bin.count)),
    );
  });
  return element('table', {}, element('caption', {}, title), element('tbody', {}, ...rows));
}
