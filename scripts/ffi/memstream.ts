/** A C FILE that writes into memory, for functions that print to one. */
import koffi from 'koffi';
import { libcFile } from '../lib/platform.ts';

const libc = koffi.load(libcFile());
const open = libc.func('void *open_memstream(void *text, void *length)');
const close = libc.func('int fclose(void *stream)');

/** Where open_memstream leaves the text's address and length when the stream is closed. */
const results = new Map<bigint, bigint>();
const LENGTH_AT = 8;

/** A `FILE *`; closeMemoryStream gives what was written to it. */
export function openMemoryStream(): bigint {
  const result: bigint = koffi.alloc('uint64_t', 2);
  const stream: bigint | null = open(result, result + BigInt(LENGTH_AT));
  if (stream === null) throw new Error(`open_memstream: errno ${koffi.errno()}`);
  results.set(stream, result);
  return stream;
}

export function closeMemoryStream(stream: bigint): string {
  const result = results.get(stream);
  if (result === undefined) throw new Error('closeMemoryStream: not an open memory stream');
  results.delete(stream);
  close(stream);
  const text: bigint = koffi.decode(result, 'void *');
  const written = koffi.decode.string(text, koffi.decode(result, LENGTH_AT, 'size_t'));
  koffi.free(text);
  koffi.free(result);
  return written;
}
