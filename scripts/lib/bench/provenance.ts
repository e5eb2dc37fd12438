// Where and on what a measurement was made: without it, a figure means nothing.

import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { execaSync } from 'execa';
import { compiler } from '../flags.ts';
import { type Malloc, peers } from '../mallocs.ts';
import { root } from '../paths.ts';

export interface Provenance {
  date: string;
  cpu: string;
  cores: number;
  memoryBytes: number;
  kernel: string;
  /** always, madvise or never. */
  hugePages: string;
  compiler: string;
  /** By malloc name: its version, or the file measured. */
  mallocs: Record<string, string>;
}

function firstLine(command: string, args: string[]): string | undefined {
  const result = execaSync(command, args, { reject: false });
  const line = result.failed ? '' : String(result.stdout).split('\n')[0];
  return line || undefined;
}

function hugePages(): string {
  try {
    const text = readFileSync('/sys/kernel/mm/transparent_hugepage/enabled', 'utf8');
    return /\[(\w+)\]/.exec(text)?.[1] ?? 'unknown';
  } catch {
    return 'unknown';
  }
}

function glibcVersion(): string {
  const line = firstLine('getconf', ['GNU_LIBC_VERSION']);
  return line?.replace(/^glibc /, '') ?? 'unknown';
}

function version(malloc: Malloc): string {
  if (malloc.kind === 'glibc') return glibcVersion();
  if (malloc.kind === 'variant') {
    return JSON.parse(readFileSync(`${root}/package.json`, 'utf8')).version as string;
  }
  const debian = peers.find(({ name }) => malloc.kind === 'peer' && name === malloc.name)?.package;
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg's own syntax
  const installed = debian && firstLine('dpkg-query', ['-W', '-f', '${Version}', debian]);
  return installed || (malloc.file ?? '');
}

/** Looks at the machine and at what is about to be measured on it. */
export function provenance(mallocs: readonly Malloc[]): Provenance {
  const [command = 'cc', ...leading] = compiler();
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    kernel: release(),
    hugePages: hugePages(),
    compiler: firstLine(command, [...leading, '--version']) ?? 'unknown',
    mallocs: Object.fromEntries(mallocs.map((malloc) => [malloc.name, version(malloc)])),
  };
}

/** The same in three lines. */
export function describeProvenance(p: Provenance): string {
  const memory = `${(p.memoryBytes / 2 ** 30).toFixed(0)} GiB`;
  const names = Object.entries(p.mallocs).map(([name, at]) => `${name} ${at}`);
  return [
    `${p.date}, ${p.cpu}, ${p.cores} cores, ${memory}, Linux ${p.kernel}, huge pages: ${p.hugePages}`,
    `compiler: ${p.compiler}`,
    names.join(', '),
  ].join('\n');
}
