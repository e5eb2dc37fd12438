// Finds the core file of a program that crashed, or the reason why there is none.

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

/** Signals whose default action writes a core, and that indicate a defect. */
export const crashes: readonly string[] = [
  'SIGSEGV',
  'SIGABRT',
  'SIGBUS',
  'SIGILL',
  'SIGFPE',
  'SIGTRAP',
  'SIGSYS',
];

export type Core = { file: string } | { reason: string };

/** The kernel's rule for cores: a file name with `%p` and the like, or `|` and a program. */
export interface CoreRule {
  pattern: string;
  usesPid: boolean;
  /** The soft limit of this process and its children: bytes, or 'unlimited'. */
  limit: string;
}

/** The core that a program started from `cwd` has written since `since` (ms), or why there is none. */
export function findCore(since: number, cwd = process.cwd(), rule = coreRule()): Core {
  const { pattern, usesPid } = rule;
  if (pattern.startsWith('|')) {
    const [handler = ''] = pattern.slice(1).trim().split(' ');
    return {
      reason: `cores are handed to ${basename(handler)} (\`coredumpctl list\` where that is systemd's)`,
    };
  }
  if (rule.limit === '0')
    return {
      reason: 'no core was written: `ulimit -c unlimited` in this shell, then run it again',
    };
  const path = resolve(cwd, pattern);
  const name = basename(path).replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const wanted = new RegExp(`^${name.replaceAll(/%[^%]/g, '.*')}${usesPid ? '(\\.\\d+)?' : ''}$`);
  const file = newest(dirname(path), wanted, since);
  return file ? { file } : { reason: `no core appeared at ${path}: is that folder writable?` };
}

function newest(folder: string, wanted: RegExp, since: number): string | undefined {
  const found = entries(folder)
    .filter((entry) => wanted.test(entry))
    .map((entry) => ({ file: join(folder, entry), time: statSync(join(folder, entry)).mtimeMs }))
    .filter(({ time }) => time >= since);
  return found.sort((a, b) => b.time - a.time)[0]?.file;
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function coreRule(): CoreRule {
  const limits = readFileSync('/proc/self/limits', 'utf8');
  return {
    pattern: readFileSync('/proc/sys/kernel/core_pattern', 'utf8').trim() || 'core',
    usesPid: readFileSync('/proc/sys/kernel/core_uses_pid', 'utf8').trim() !== '0',
    limit: /^Max core file size +(\S+)/m.exec(limits)?.[1] ?? '0',
  };
}
