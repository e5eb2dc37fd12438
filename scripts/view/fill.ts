// The page of `view` as one file that needs nothing else: no network, no server.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { Failure } from '../lib/errors.ts';
import { root } from '../lib/paths.ts';
import { type HeapData, pack } from './data.ts';

/** The HTML document that shows these heaps side by side. Throws a Failure before `make`. */
export function pageOf(heaps: readonly HeapData[]): string {
  const data = heaps.map((heap) => {
    const base64 = deflateSync(pack(heap), { level: 6 }).toString('base64');
    return `<script type="text/x-heap">${base64}</script>`;
  });
  return template().replace('<!-- DATA -->', () => data.join('\n'));
}

function template(): string {
  const file = join(root, 'build', 'js', 'view', 'page.html');
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new Failure('the page of view (build/js/view/page.html) has not been built', {
      hint: 'run make',
      cause,
    });
  }
}
