// A trace file as segments: which there are, which process wrote them, and whether they are intact.

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { Failure } from '../lib/errors.ts';
import {
  AT_EXIT,
  bytesOf,
  HEAD_BYTES,
  isChecked,
  kinds,
  OLDEST,
  offset,
  RECORD_BYTES,
  SEGMENT_BYTES,
  SEGMENT_MAGIC,
  sumOf,
  VERSION,
} from './format.ts';

/** The first segment of a file. */
export interface TraceHeader {
  version: number;
  /** How many segments were handed out, this one included. */
  segments: number;
  /** Records that could not be written. */
  lost: number;
  processes: number;
  options: number;
  /** Ticks per second. */
  rate: number;
  /** Milliseconds since 1970 at time 0. */
  realtime: number;
}

/** What stands before the content of a segment, and where the segment is. */
export interface SegmentHead {
  /** In the file, from 0. */
  index: number;
  kind: number;
  process: number;
  stream: number;
  order: number;
  thread: number;
  /** Ticks since time 0. */
  base: number;
  used: number;
  sealed: boolean;
  /** Sealed, but in use: records may follow what was summed up. */
  open: boolean;
  sum: number;
}

/** The content of a segment: words of it, and how many bytes. */
export interface Content {
  words: Uint32Array;
  bytes: Buffer;
  length: number;
}

const field = (name: string): number => offset('segment', name);
const at = {
  kind: field('kind'),
  process: field('process'),
  stream: field('stream'),
  order: field('order'),
  thread: field('thread'),
  base: field('base'),
  used: field('used'),
  sealed: field('sealed'),
  sum: field('sum'),
  check: field('check'),
};

/** An open trace file. Reads segment by segment; holds nothing but their heads. */
export class SegmentFile {
  readonly file: string;
  readonly bytes: number;
  readonly header: TraceHeader;
  /** Of all segments that could be recognised, in the order of the file. */
  readonly heads: readonly SegmentHead[];
  /** What is wrong with the file, a sentence each; those about contents come as they are read. */
  readonly damage: Set<string> = new Set();
  readonly #fd: number;

  /** Throws Failure for a file that is none of ours, empty, too new, or broken in its first bytes. */
  constructor(file: string) {
    this.file = file;
    this.#fd = openToRead(file);
    try {
      this.bytes = fstatSync(this.#fd).size;
      this.header = this.#readHeader();
      this.heads = this.#readHeads();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  #readHeader(): TraceHeader {
    const { file } = this;
    const again = 'record it again: libmalloc record -o FILE -- CMD';
    if (this.bytes === 0) throw new Failure(`${file} is empty: no trace`, { hint: again });
    const head = this.#read(0, bytesOf('header'));
    if (head.toString('latin1', 0, 8) !== 'LMTRACE\0')
      throw new Failure(`${file} is not a trace of libmalloc`, { hint: again });
    const version = head.readUInt32LE(offset('header', 'version'));
    if ((version < OLDEST || version > VERSION) && version > 0)
      throw new Failure(
        `${file} is a trace of version ${version}; this libmalloc reads versions ${OLDEST} to ${VERSION}`,
        {
          hint: `read it with the libmalloc that wrote it, or ${version < OLDEST ? again : 'update this one'}`,
        },
      );
    const number = (name: string): number => Number(head.readBigUInt64LE(offset('header', name)));
    const rate = number('rate');
    const segment = head.readUInt32LE(offset('header', 'segment'));
    const cut = this.bytes < bytesOf('header');
    if (cut || version === 0 || segment !== SEGMENT_BYTES || rate < 1e3 || rate > 1e12)
      throw new Failure(
        `${file} is ${cut ? 'cut' : 'damaged'} in its header: nothing can be read`,
        {
          hint: again,
        },
      );
    return {
      version,
      segments: number('segments'),
      lost: number('lost'),
      processes: head.readUInt32LE(offset('header', 'processes')),
      options: head.readUInt32LE(offset('header', 'options')),
      rate,
      realtime: number('realtime') / 1e6,
    };
  }

  /** The size of the file counts, not the number in its header. */
  #readHeads(): SegmentHead[] {
    const there = Math.ceil(this.bytes / SEGMENT_BYTES);
    const heads: SegmentHead[] = [];
    for (let index = 1; index < there; index++) {
      const head = this.#readHead(index);
      if (head) heads.push(head);
    }
    const full = Math.floor(this.bytes / SEGMENT_BYTES);
    const last = heads.at(-1);
    const whole = last?.index === full && this.#isWhole(last) ? full + 1 : full;
    if (whole < this.header.segments)
      this.damage.add(`cut: ${whole} of ${this.header.segments} segments are whole`);
    return heads;
  }

  /** The file may end behind what is used of its last segment: behind an empty record of one in use. */
  #isWhole(head: SegmentHead): boolean {
    const content = this.content(head);
    if (content === undefined) return false;
    const end = head.index * SEGMENT_BYTES + HEAD_BYTES + content.length;
    return end + (isInUse(head) ? RECORD_BYTES : 0) <= this.bytes;
  }

  /**
   * Undefined for a segment that was reserved but not begun, because its process was killed in
   * between.
   */
  #readHead(index: number): SegmentHead | undefined {
    const bytes = this.#read(index * SEGMENT_BYTES, HEAD_BYTES);
    if (bytes.every((byte) => byte === 0) || bytes.readUInt32LE(at.kind) === kinds.idle)
      return undefined;
    const head = {
      index,
      kind: bytes.readUInt32LE(at.kind),
      process: bytes.readUInt32LE(at.process),
      stream: bytes.readUInt32LE(at.stream),
      order: bytes.readUInt32LE(at.order),
      thread: bytes.readUInt32LE(at.thread),
      base: Number(bytes.readBigUInt64LE(at.base)),
      used: bytes.readUInt32LE(at.used),
      sealed: bytes.readUInt32LE(at.sealed) !== 0,
      open: bytes.readUInt32LE(at.sealed) === AT_EXIT,
      sum: bytes.readUInt32LE(at.sum),
    };
    const sound = bytes.readUInt32LE(0) === SEGMENT_MAGIC && head.process > 0;
    if (!sound || head.used > SEGMENT_BYTES - HEAD_BYTES || !isSound(head, bytes)) {
      this.damage.add(`segment ${index} is damaged: left out`);
      return undefined;
    }
    // Segments of unknown kinds are checked as well: a damaged byte may have changed the kind.
    const asked = [kinds.events, kinds.heap, kinds.counts, kinds.stacks].includes(head.kind);
    return asked || this.content(head) ? head : undefined;
  }

  /**
   * The content of a segment, into `buffer` (SEGMENT_BYTES long) where one is given; undefined, and
   * a word in `damage`, when its sum is not the one it was sealed with.
   */
  content(head: SegmentHead, buffer: Buffer = Buffer.alloc(SEGMENT_BYTES)): Content | undefined {
    const got = this.#readInto(buffer, head.index * SEGMENT_BYTES);
    const words = new Uint32Array(buffer.buffer, buffer.byteOffset, SEGMENT_BYTES / 4);
    const length = isInUse(head) ? this.#open(head, words) : head.used;
    if (head.sealed) {
      words[at.sum / 4] = 0;
      const summed = HEAD_BYTES + Math.ceil(head.used / RECORD_BYTES) * RECORD_BYTES;
      if (sumOf(words, summed) !== head.sum) {
        const why = got < SEGMENT_BYTES ? 'is cut' : 'does not add up';
        this.damage.add(`segment ${head.index} ${why}: left out`);
        return undefined;
      }
    }
    return { words: words.subarray(HEAD_BYTES / 4), bytes: buffer.subarray(HEAD_BYTES), length };
  }

  /**
   * Bytes of records in a segment that was in use to the end: up to the first empty one, behind which
   * there is nothing. What has no sum has a check bit in each record.
   */
  #open(head: SegmentHead, words: Uint32Array): number {
    const step = RECORD_BYTES / 4;
    const first = HEAD_BYTES / 4;
    let i = first + (head.sealed ? Math.ceil(head.used / RECORD_BYTES) * step : 0);
    while (i < words.length && (words[i] || words[i + 1]) && isChecked(words, i)) i += step;
    const ended = i >= words.length || (words[i] === 0 && words[i + 1] === 0);
    // Of a record that was being written, `much` may be there.
    if (!ended || words.subarray(i + step).some((word) => word !== 0)) {
      const record = (i - first) / step + 1;
      this.damage.add(`segment ${head.index} is damaged from record ${record} on: left out`);
    }
    return i * 4 - HEAD_BYTES;
  }

  #read(position: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    this.#readInto(bytes, position);
    return bytes;
  }

  /** What lies behind the end of the file reads as zero. */
  #readInto(buffer: Buffer, position: number): number {
    let got = 0;
    while (got < buffer.length) {
      const n = readSync(this.#fd, buffer, got, buffer.length - got, position + got);
      if (n === 0) break;
      got += n;
    }
    buffer.fill(0, got);
    return got;
  }
}

/** Records or nodes, each with a check bit, which a process adds until it ends. */
function isInUse({ kind, sealed, open }: SegmentHead): boolean {
  return (kind === kinds.events || kind === kinds.stacks) && (!sealed || open);
}

/** What has no sum yet has one of its head, as it was when the stream began it. */
function isSound({ kind, sealed }: SegmentHead, head: Buffer): boolean {
  if (sealed || kind === kinds.counts) return true;
  const words = new Uint32Array(HEAD_BYTES / 4).map((_, i) => head.readUInt32LE(4 * i));
  for (const place of [at.used, at.sealed, at.sum, at.check]) words[place / 4] = 0;
  return sumOf(words, HEAD_BYTES) === head.readUInt32LE(at.check);
}

function openToRead(file: string): number {
  try {
    const fd = openSync(file, 'r');
    if (fstatSync(fd).isFile()) return fd;
    closeSync(fd);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const what = code === 'ENOENT' ? `there is no trace ${file}` : `cannot read ${file}: ${code}`;
    throw new Failure(what, { hint: 'record one: libmalloc record -o FILE -- CMD', cause });
  }
  throw new Failure(`${file} is not a file`, { hint: 'give a file that record wrote' });
}
