// What a return address is called.

import { basename } from 'node:path';

/** One function of a call stack; an address where calls were inlined stands for several. */
export interface Frame {
  /** Demangled; `module+0xoffset` where nothing names it. */
  function: string;
  /** False where `function` is a mere number. */
  named: boolean;
  /** As the compiler was given it. */
  file?: string;
  line?: number;
  /** The frame that follows is where this one's code was put. */
  inlined: boolean;
  /** The file that the code was mapped from, or the kernel's name for it, such as `[vdso]`. */
  module: string;
  /** As addr2line wants it: the address in the module, as it was linked. Of the return address. */
  offset: number;
}

/** The name of code that is in no file, because it was generated while the program ran. */
export const GENERATED = '[generated code]';

/** `make_list (list.c:12)`, or less where less is known: `malloc (libc.so.6)`, `ls+0x4711`. */
export function describeFrame(frame: Frame): string {
  if (frame.file !== undefined && frame.line !== undefined)
    return `${frame.function} (${basename(frame.file)}:${frame.line})`;
  return frame.named ? `${frame.function} (${basename(frame.module)})` : frame.function;
}

export function unnamed(module: string, offset: number): Frame {
  const name = `${basename(module)}+0x${offset.toString(16)}`;
  return { function: name, named: false, inlined: false, module, offset };
}
