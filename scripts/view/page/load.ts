// The data of the page: base64 of deflated columns, in script elements that are never run.

import { type HeapData, unpack } from '../data.ts';

export async function loadHeaps(): Promise<HeapData[]> {
  const sources = [...document.querySelectorAll<HTMLScriptElement>('script[type="text/x-heap"]')];
  return Promise.all(
    sources.map(async (source) => unpack(await inflate(decode(source.textContent?.trim() ?? '')))),
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
