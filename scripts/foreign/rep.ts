// The .rep files of malloc labs: numbers at the head, then `a ID SIZE`, `r ID SIZE`, `f ID`. We read
// words, not lines, because most drivers do, and files in circulation rely on it.

import { closeSync, openSync, writeSync } from 'node:fs';
import { Failure } from '../lib/errors.ts';
import { count } from '../lib/units.ts';
import { Slots, type Step } from '../trace/steps.ts';
import { linesOf } from './text-lines.ts';

const BLOCK = 65536;
/** Bytes, or some version's weight; IDs; operations; weight, or the most bytes that live at a time. */
const HEADER_NUMBERS = 4;

/** The part of a trace that counts in the lab's score. */
export type Weight = 'nothing' | 'all' | 'utilisation' | 'throughput';
const weights: Weight[] = ['nothing', 'all', 'utilisation', 'throughput'];

/** Whether a file begins as a .rep file does: with the numbers of its head, or with an operation. */
export function looksLikeRep(start: string): boolean {
  const text = withoutComments(start);
  return (
    /^\s*(\d+\s+){4}[a-z](\s|$)/i.test(text) || /^\s*(\d+\s+){0,3}[arfc]\s+-?\d+(\s|$)/i.test(text)
  );
}

const withoutComments = (text: string): string =>
  text.replaceAll(/\/\*.*?\*\//gs, ' ').replaceAll(/(#|;|\/\/).*$/gm, '');

interface Word {
  text: string;
  line: number;
}

/** The words of a file, without comments: as in C, and from `#` or `;` to the end of a line. */
function* wordsOf(file: string): Generator<Word, void> {
  let line = 0;
  let inside = false;
  for (const raw of linesOf(file)) {
    line++;
    let text: string = inside ? `/*${raw}` : raw;
    text = text.replaceAll(/\/\*.*?\*\//g, ' ');
    inside = text.includes('/*');
    if (inside) text = text.slice(0, text.indexOf('/*'));
    for (const word of text.replace(/(#|;|\/\/).*$/, '').split(/\s+/))
      if (word !== '') yield { text: word, line };
  }
}

/** An operation, or what stands before the first one: a letter (none there) and its numbers. */
interface Sentence {
  letter: string;
  numbers: number[];
  line: number;
}

function* sentencesOf(file: string): Generator<Sentence, void> {
  let now: Sentence = { letter: '', numbers: [], line: 1 };
  for (const { text, line } of wordsOf(file)) {
    if (/^-?\d{1,15}(\.\d+)?$/.test(text)) now.numbers.push(Number(text));
    else if (/^[a-z]$/i.test(text)) {
      yield now;
      now = { letter: text.toLowerCase(), numbers: [], line };
    } else throw nonsense(file, line, text);
  }
  yield now;
}

function nonsense(file: string, line: number, text: string): Failure {
  return new Failure(`${file}, line ${line}: '${text.slice(0, 40)}' makes no sense`, {
    hint: 'an operation is `a ID SIZE`, `c ID SIZE`, `r ID SIZE` or `f ID`, about a block that is there',
  });
}

/** One .rep file. */
export class Rep {
  readonly #file: string;
  #head: number[] = [];
  #operations = 0;
  #lastId = -1;
  #lost = 0;
  #cleared = 0;
  #checks = 0;
  #live = new Map<number, number>();
  #slots = new Slots();

  constructor(file: string) {
    this.#file = file;
  }

  /** The steps, from the beginning. Throws Failure with the line that makes no sense. */
  *steps(): Generator<Step, void> {
    const step: Step = { kind: 'malloc', thread: 0, slot: 0, old: 0, size: 0, alignment: 0 };
    this.#head = [];
    this.#operations = this.#lost = this.#cleared = this.#checks = 0;
    this.#lastId = -1;
    this.#live = new Map();
    this.#slots = new Slots();
    for (const sentence of sentencesOf(this.#file)) {
      const { letter, numbers, line } = sentence;
      if (letter === '' && numbers.length <= HEADER_NUMBERS) this.#head = numbers;
      else if (letter === 'c' && numbers.length === 0) this.#checks++;
      else if (letter !== '' && this.#operation(sentence, step)) {
        this.#operations++;
        yield step;
      } else throw nonsense(this.#file, line, [letter, ...numbers].join(' ').trim());
    }
  }

  /** Puts what a sentence says into `step`; false when it says nothing that can be done. */
  #operation({ letter, numbers }: Sentence, step: Step): boolean {
    const [id = 0, first = 0, second = 1] = numbers;
    step.size = first * second;
    if (letter === 'f') return numbers.length === 1 && this.#free(id, step);
    const wanted = letter === 'c' ? [2, 3] : [2];
    if (!'arc'.includes(letter) || !wanted.includes(numbers.length)) return false;
    if (id < 0 || step.size < 0 || !Number.isInteger(id) || !Number.isInteger(step.size))
      return false;
    const before = this.#live.get(id);
    step.slot = this.#slots.take();
    this.#live.set(id, step.slot);
    this.#lastId = Math.max(this.#lastId, id);
    step.kind = letter === 'c' ? 'calloc' : 'malloc';
    step.old = 0;
    if (letter === 'c') this.#cleared++;
    if (before === undefined) return true;
    if (letter !== 'r') {
      this.#lost++; // as in the lab's driver, which forgets the block
      return true;
    }
    step.kind = 'realloc';
    step.old = before;
    this.#slots.give(before);
    return true;
  }

  /** -1 is NULL; some drivers read it as an unsigned number. */
  #free(id: number, step: Step): boolean {
    const slot = this.#live.get(id);
    if (slot === undefined) {
      step.kind = 'nothing';
      return id === -1 || id === 2 ** 32 - 1;
    }
    step.kind = 'free';
    step.slot = slot;
    this.#live.delete(id);
    this.#slots.give(slot);
    return true;
  }

  /** What the trace counts for. If the last number of the head is no weight, the first one is. */
  get weight(): Weight {
    const [first = 1, , , last = 1] = this.#head;
    return weights[last] ?? weights[first] ?? 'all';
  }

  /** Wrong statements of the head, and anything unusual. */
  remarks(): string[] {
    const lines: string[] = [];
    const [, ids, operations] = this.#head;
    if (this.#head.length < HEADER_NUMBERS) lines.push('its head has fewer than four numbers');
    if (ids !== undefined && ids !== this.#lastId + 1)
      lines.push(`its head says ${count(ids)} IDs, there are ${count(this.#lastId + 1)}`);
    if (operations !== undefined && operations !== this.#operations)
      lines.push(
        `its head says ${count(operations)} operations, there are ${count(this.#operations)}`,
      );
    if (this.#lost > 0)
      lines.push(
        `${count(this.#lost)} blocks are lost: their ID was taken again before they were freed`,
      );
    if (this.#cleared > 0) lines.push(`${count(this.#cleared)} lines \`c\` were played as calloc`);
    if (this.#checks > 0)
      lines.push(`${count(this.#checks)} lines \`c\` without an ID were left out`);
    return lines;
  }
}

/** Calls that a .rep file cannot express. */
export interface Exported {
  operations: number;
  blocks: number;
  /** Blocks with an alignment, which is lost, and of calloc, which are not cleared. */
  plain: number;
  /** Sizes of 0, which the lab's driver takes for an error: they became 1. */
  empty: number;
}

/**
 * Writes a .rep file. `steps` is called twice: the numbers at the head say how many there will be.
 * Threads become one, in the order of time; free(NULL) is left out. `turn` is awaited now and then.
 */
export async function writeRep(
  file: string,
  steps: () => Iterable<Step>,
  turn: () => Promise<unknown> = async () => {},
): Promise<Exported> {
  const found: Exported = { operations: 0, blocks: 0, plain: 0, empty: 0 };
  for (const { kind, alignment, size } of steps()) {
    if (kind === 'nothing') continue;
    found.operations++;
    if (kind !== 'free' && kind !== 'realloc') found.blocks++;
    if (kind === 'calloc' || alignment > 16) found.plain++;
    if (kind !== 'free' && size === 0) found.empty++;
    if (found.operations % 20_000 === 0) await turn();
  }
  const fd = openSync(file, 'w');
  try {
    let text = `20000000\n${found.blocks}\n${found.operations}\n1\n`;
    for (const line of linesOfRep(steps())) {
      text += line;
      if (text.length < BLOCK) continue;
      writeSync(fd, text);
      text = '';
      await turn();
    }
    writeSync(fd, text);
  } finally {
    closeSync(fd);
  }
  return found;
}

function* linesOfRep(steps: Iterable<Step>): Generator<string, void> {
  const ids: number[] = [];
  let next = 0;
  for (const { kind, slot, old, size } of steps) {
    if (kind === 'free') yield `f ${ids[slot]}\n`;
    else if (kind === 'realloc') {
      ids[slot] = ids[old] as number;
      yield `r ${ids[slot]} ${size || 1}\n`;
    } else if (kind !== 'nothing') {
      ids[slot] = next++;
      yield `a ${ids[slot]} ${size || 1}\n`;
    }
  }
}
