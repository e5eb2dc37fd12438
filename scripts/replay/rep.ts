// The .rep files of the CS:APP malloc lab: four numbers, then `a ID SIZE`, `r ID SIZE` and `f ID`.

import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { Failure } from '../lib/errors.ts';
import { Slots, type Step } from '../trace/steps.ts';

const HEADER_NUMBERS = 4;
const BLOCK = 65536;

/** The lines of a text file, read piece by piece. */
function* linesOf(file: string): Generator<string, void> {
  const fd = openSync(file, 'r');
  try {
    const bytes = Buffer.alloc(BLOCK);
    let rest = '';
    for (let n = readSync(fd, bytes); n > 0; n = readSync(fd, bytes)) {
      const lines = (rest + bytes.toString('latin1', 0, n)).split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > BLOCK) break; // no valid line is that long
      yield* lines;
    }
    yield rest;
  } finally {
    closeSync(fd);
  }
}

/** Does the file begin as a .rep file does: with a number on a line of its own? */
export function looksLikeRep(file: string): boolean {
  const fd = openSync(file, 'r');
  try {
    const bytes = Buffer.alloc(64);
    const start = bytes.toString('latin1', 0, readSync(fd, bytes));
    return /^\s*\d+\s*\r?\n\s*\d+\s*\r?\n/.test(start);
  } finally {
    closeSync(fd);
  }
}

/** The steps of a .rep file. Throws Failure with the line that makes no sense. */
export function* stepsOfRep(file: string): Generator<Step, void> {
  const step: Step = { kind: 'malloc', thread: 0, slot: 0, old: 0, size: 0, alignment: 0 };
  const slots = new Slots();
  const blocks = new Map<number, number>();
  let numbers = 0;
  let line = 0;
  for (const text of linesOf(file)) {
    line++;
    const words = text.trim();
    if (words === '') continue;
    if (numbers < HEADER_NUMBERS && /^-?\d+(\.\d+)?$/.test(words)) {
      numbers++;
      continue;
    }
    if (!operation(words, step, slots, blocks))
      throw new Failure(`${file}, line ${line}: '${words.slice(0, 40)}' makes no sense`, {
        hint: 'a line is `a ID SIZE`, `r ID SIZE` or `f ID`, about a block that is there',
      });
    yield step;
  }
}

/** Puts what a line says into `step`; false when it says nothing that can be done. */
function operation(words: string, step: Step, slots: Slots, blocks: Map<number, number>): boolean {
  const [, verb, id = '', size = ''] = /^([arf])\s+(\d{1,15})(?:\s+(\d{1,15}))?$/.exec(words) ?? [];
  const number = Number(id);
  const before = blocks.get(number);
  step.size = Number(size);
  if (verb === 'f') {
    if (before === undefined) {
      step.kind = 'nothing'; // the lab's own driver frees what is NULL, too
      return id === '-1';
    }
    step.kind = 'free';
    step.slot = before;
    blocks.delete(number);
    slots.give(before);
    return true;
  }
  if (verb === undefined || size === '' || (verb === 'a' && before !== undefined)) return false;
  step.slot = slots.take();
  blocks.set(number, step.slot);
  step.kind = before === undefined ? 'malloc' : 'realloc';
  step.old = before ?? 0;
  if (before !== undefined) slots.give(before);
  return true;
}

/** Calls that a .rep file cannot express. */
export interface Exported {
  operations: number;
  blocks: number;
  /** Blocks with an alignment, which is lost, and of calloc, which are not cleared. */
  plain: number;
}

/**
 * Writes a .rep file. `steps` is called twice: the numbers at the head say how many there will be.
 * Threads become one, in the order of time; free(NULL) is left out.
 */
export function writeRep(file: string, steps: () => Iterable<Step>): Exported {
  const found: Exported = { operations: 0, blocks: 0, plain: 0 };
  for (const { kind, alignment } of steps()) {
    if (kind === 'nothing') continue;
    found.operations++;
    if (kind !== 'free' && kind !== 'realloc') found.blocks++;
    if (kind === 'calloc' || alignment > 16) found.plain++;
  }
  const fd = openSync(file, 'w');
  try {
    let text = `20000000\n${found.blocks}\n${found.operations}\n1\n`;
    for (const line of linesOfRep(steps())) {
      text += line;
      if (text.length < BLOCK) continue;
      writeSync(fd, text);
      text = '';
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
      yield `r ${ids[slot]} ${size}\n`;
    } else if (kind !== 'nothing') {
      ids[slot] = next++;
      yield `a ${ids[slot]} ${size}\n`;
    }
  }
}
