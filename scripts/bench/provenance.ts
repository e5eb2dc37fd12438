// The machine and the mallocs of a measurement: without them, a figure means nothing.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { basename } from 'node:path';
import { execaSync } from 'execa';
import { compiler } from '../lib/flags.ts';
import { root } from '../lib/paths.ts';
import { type Malloc, peers } from '../malloc/mallocs.ts';

export interface Provenance {
  date: string;
  cpu: string;
  cores: number;
  memoryBytes: number;
  kernel: string;
  /** always, madvise or never. */
  hugePages: string;
  /** Bytes of an ordinary page. */
  pageBytes?: number;
  /** The load average of the minute before. */
  load?: number;
  compiler: string;
  /** By malloc name: its version, or the name and digest of its file. */
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

/** `0.1.0 (e202892)`: our version and, in a checkout, the commit. */
function ownVersion(): string {
  const { version } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8'));
  const commit = ['-C', root, 'describe', '--always', '--dirty', '--exclude', '*'];
  const found = firstLine('git', commit);
  return found ? `${version} (${found})` : version;
}

/** A library does not state its version; name and digest say whether another one is the same. */
function identity(file: string): string {
  const digest = createHash('sha256').update(readFileSync(file)).digest('hex');
  return `${basename(file)} sha256 ${digest.slice(0, 8)}`;
}

function version(malloc: Malloc): string {
  if (malloc.kind === 'glibc') return glibcVersion();
  if (malloc.kind === 'variant') return ownVersion();
  const debian = peers.find(({ name }) => malloc.kind === 'peer' && name === malloc.name)?.package;
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg's own syntax
  const installed = debian && firstLine('dpkg-query', ['-W', '-f', '${Version}', debian]);
  return installed || identity(malloc.file ?? '');
}

/**
 * Describes the machine and the mallocs to be measured. `versions` overrides the version of a
 * malloc, by name.
 */
export function provenance(
  mallocs: readonly Malloc[],
  versions: Record<string, string> = {},
): Provenance {
  const of = (malloc: Malloc) => versions[malloc.name] ?? version(malloc);
  const [command = 'cc', ...leading] = compiler();
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    kernel: release(),
    hugePages: hugePages(),
    pageBytes: Number(firstLine('getconf', ['PAGESIZE']) ?? 4096),
    load: Math.round((loadavg()[0] ?? 0) * 10) / 10,
    compiler: firstLine(command, [...leading, '--version']) ?? 'unknown',
    mallocs: Object.fromEntries(mallocs.map((malloc) => [malloc.name, of(malloc)])),
  };
}

/** The same in three lines. */
export function describeProvenance(p: Provenance): string {
  const memory = `${(p.memoryBytes / 2 ** 30).toFixed(0)} GiB`;
  const names = Object.entries(p.mallocs).map(([name, at]) => `${name} ${at}`);
  const pages = p.pageBytes === undefined ? '' : `pages of ${p.pageBytes / 1024} KiB, `;
  const load = p.load === undefined ? '' : `; load before the first run: ${p.load.toFixed(1)}`;
  return [
    `${p.date}, ${p.cpu}, ${p.cores} cores, ${memory}, Linux ${p.kernel}, ${pages}huge pages: ${p.hugePages}`,
    `compiler: ${p.compiler}${load}`,
    names.join(', '),
  ].join('\n');
}
