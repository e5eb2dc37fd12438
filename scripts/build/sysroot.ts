// A folder with the C library of another release or processor, from Debian's packages. apt fetches
// them with a configuration of its own: nothing is installed, and root is not needed.

import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../lib/errors.ts';

const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** The output of a tool. Throws a Failure with its error message. */
function said(command: string, args: string[], folder?: string): string {
  try {
    return execFileSync(command, args, { encoding: 'utf8', cwd: folder, stdio: 'pipe' });
  } catch (error) {
    const { code, stderr } = error as NodeJS.ErrnoException & { stderr?: string };
    if (code === 'ENOENT') throw new Failure(`${command} is missing: this is for Debian`);
    throw new Failure(`${command} ${args.at(-1)}: ${stderr?.trim()}`);
  }
}

/** The mirror that this machine uses for Debian itself. */
export function mirror(): string {
  const format = '$(ORIGIN) $(REPO_URI)';
  const lines = said('apt-get', ['indextargets', '--format', format]).split('\n');
  const found = lines.find((line) => line.startsWith('Debian '))?.split(' ')[1];
  if (found !== undefined) return found;
  throw new Failure('apt knows no Debian mirror', { hint: 'apt-get update' });
}

/** apt's options for one architecture and release, with all its state in `folder`. */
function aptOptions(folder: string, architecture: string, release: string): string[] {
  for (const name of ['lists/partial', 'cache/archives/partial'])
    mkdirSync(join(folder, name), { recursive: true });
  const sources = join(folder, 'sources.list');
  writeFileSync(sources, `deb [signed-by=${keyring}] ${mirror()} ${release} main\n`);
  return [
    `APT::Architecture=${architecture}`,
    `APT::Architectures=${architecture}`,
    `Dir::State::Lists=${join(folder, 'lists')}`,
    `Dir::Cache=${join(folder, 'cache')}`,
    `Dir::Etc::SourceList=${sources}`,
    'Dir::State::Status=/dev/null',
    'Dir::Etc::SourceParts=/dev/null',
    'Acquire::Languages=none',
    'APT::Sandbox::User=root',
  ].flatMap((option) => ['-o', option]);
}

/** Makes links to absolute paths point into the folder. */
function bindLinks(sysroot: string, folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) bindLinks(sysroot, path);
    if (!entry.isSymbolicLink() || !readlinkSync(path).startsWith('/')) continue;
    const to = join(sysroot, readlinkSync(path));
    rmSync(path);
    symlinkSync(to, path);
  }
}

/** Fills the folder with these packages, unless that was done before. */
export function fillSysroot(
  sysroot: string,
  architecture: string,
  release: string,
  packages: string[],
): void {
  if (existsSync(sysroot)) return;
  const draft = `${sysroot}.${process.pid}`;
  const apt = join(draft, 'apt');
  try {
    const options = aptOptions(apt, architecture, release);
    console.log(`  apt  ${packages.join(' ')} of ${release} for ${architecture}`);
    said('apt-get', ['-q', ...options, 'update']);
    said('apt-get', ['-q', ...options, 'download', ...packages], apt);
    for (const file of readdirSync(apt).filter((name) => name.endsWith('.deb')))
      said('dpkg', ['-x', join(apt, file), draft]);
    rmSync(apt, { recursive: true });
    renameSync(draft, sysroot);
    bindLinks(sysroot, sysroot);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}
