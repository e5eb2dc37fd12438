// The name of a return address: its function, file and line.

import { basename } from 'node:path';

/** One function of a call stack. An address with inlined calls has several. */
export interface Frame {
  /** Demangled; `module+0xoffset` if it has no name. */
  function: string;
  /** False if `function` is `module+0xoffset`. */
  named: boolean;
  /** The path that the compiler was given. */
  file?: string;
  line?: number;
  /** The compiler inlined this function into that of the next frame. */
  inlined: boolean;
  /** The file that the code was mapped from, or the kernel's name for it, such as `[vdso]`. */
  module: string;
  /** The return address as linked in the module, as addr2line expects it. */
  offset: number;
}

/** The name of code that is in no file, because the program generated it while it ran. */
export const GENERATED = '[generated code]';

/** `make_list (list.c:12)`, or what is known: `malloc (libc.so.6)`, `ls+0x4711`. */
export function describeFrame(frame: Frame): string {
  if (frame.file !== undefined && frame.line !== undefined)
    return `${frame.function} (${basename(frame.file)}:${frame.line})`;
  return frame.named ? `${frame.function} (${basename(frame.module)})` : frame.function;
}

export function unnamed(module: string, offset: number): Frame {
  const name = `${basename(module)}+0x${offset.toString(16)}`;
  return { function: name, named: false, inlined: false, module, offset };
}
