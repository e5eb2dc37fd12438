// Loads the data of the page: base64 of deflated columns, in script elements that never run.

import { type HeapData, type ProcessFacts, unpack } from '../data.ts';

/** A process of a trace; its data is unpacked only when a reader opens it. */
export interface Source {
  facts: ProcessFacts;
  load: () => Promise<HeapData>;
}

/** The traces in the page, each with its processes; the page opens the first process. */
export function readTraces(): Source[][] {
  const scripts = [...document.querySelectorAll<HTMLScriptElement>('script[type="text/x-heap"]')];
  const lists: ProcessFacts[][] = JSON.parse(
    document.querySelector('script[type="application/json"]')?.textContent ?? '[]',
  );
  let next = 0;
  return lists.map((list) =>
    list.map((facts) => {
      const script = scripts[next++];
      const load = async () => unpack(await inflate(decode(script?.textContent?.trim() ?? '')));
      return { facts, load };
    }),
  );
}

function decode(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

async function inflate(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
