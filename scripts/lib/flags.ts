import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Kind, root } from './paths.ts';

/** The one list of compiler flags, native/flags.json; binding.gyp reads the same file. */
interface Flags {
  common: string[];
  release: string[];
  debug: string[];
  link: string[];
  /** After the source. glibc before 2.34 has dlsym in a library of its own. */
  libraries: string[];
  warnings: string[];
}

/** Reads native/flags.json. */
function flags(): Flags {
  return JSON.parse(readFileSync(join(root, 'native', 'flags.json'), 'utf8')) as Flags;
}

/** The C compiler: $CC as make passes it on, else `cc`. May hold several words (`ccache gcc`). */
export function compiler(env: NodeJS.ProcessEnv = process.env): string[] {
  const words = (env.CC ?? '').split(/\s+/).filter((word) => word !== '');
  return words.length > 0 ? words : ['cc'];
}

/** Arguments that turn one C file into a program; warnings are errors. */
export function programArguments(kind: Kind, source: string, output: string): string[] {
  const { common, warnings, ...by } = flags();
  return [...common, ...by[kind], ...warnings, '-Werror', '-o', output, source];
}

/** Arguments that turn one C file into one of our shared libraries; warnings are errors. */
export function libraryArguments(kind: Kind, source: string, output: string): string[] {
  const { common, warnings, link, libraries, ...by } = flags();
  const line = [...common, ...by[kind], ...warnings, '-Werror', ...link];
  return [...line, '-o', output, source, ...libraries];
}
