// The texts of a Debian package: control, changelog, copyright.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execaSync } from 'execa';
import { root } from '../lib/paths.ts';

/** The fields of one package's control file. */
export interface Package {
  name: string;
  section: string;
  /** VERSION stands for the version, which all packages share. */
  depends: string;
  recommends?: string;
  summary: string;
  text: string;
}

const git = (...args: string[]): string =>
  execaSync('git', args, { cwd: root, reject: false }).stdout ?? '';

/** Who builds it: from the variables of Debian's tools, else from git's settings. */
function maintainer(env: NodeJS.ProcessEnv = process.env): string {
  const name = env.DEBFULLNAME ?? (git('config', 'user.name') || 'libmalloc authors');
  const address = env.DEBEMAIL ?? (git('config', 'user.email') || 'root@localhost');
  return `${name} <${address}>`;
}

/** DEBIAN/control. */
export function control(
  each: Package,
  { version, architecture, kib }: { version: string; architecture: string; kib: number },
): string {
  const description = each.text.split('\n').map((line) => ` ${line}`);
  return [
    `Package: ${each.name}`,
    'Source: libmalloc',
    `Version: ${version}`,
    `Architecture: ${architecture}`,
    `Maintainer: ${maintainer()}`,
    `Installed-Size: ${kib}`,
    `Depends: ${each.depends.replace('VERSION', version)}`,
    ...(each.recommends === undefined ? [] : [`Recommends: ${each.recommends}`]),
    `Section: ${each.section}`,
    'Priority: optional',
    ...(each.section === 'devel' ? [] : ['Multi-Arch: same']),
    `Description: ${each.summary}`,
    ...description,
    '',
  ].join('\n');
}

/** The newest release in the format of Debian's changelogs. */
export function debianChangelog(version: string): string {
  const epoch = Number(process.env.SOURCE_DATE_EPOCH ?? git('log', '-1', '--format=%ct')) || 0;
  const date = new Date(epoch * 1000).toUTCString().replace('GMT', '+0000');
  return `libmalloc (${version}) unstable; urgency=medium

  * /usr/share/doc/libmalloc/CHANGELOG.md lists what changed for users.

 -- ${maintainer()}  ${date}
`;
}

/** The licence in Debian's format; for the command, also the licences of the modules in its package. */
export function copyright(name: string): string {
  const license = readFileSync(join(root, 'LICENSE'), 'utf8').trim();
  const holder = /^Copyright \(c\) (.*)$/m.exec(license)?.[1] ?? 'the libmalloc authors';
  const indented = (text: string): string =>
    text
      .split('\n')
      .map((line) => (line.trim() === '' ? ' .' : ` ${line}`))
      .join('\n');
  const ours = `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: libmalloc

Files: *
Copyright: ${holder}
License: Expat
${indented(license)}
`;
  return name === 'libmalloc' ? `${ours}${modules()}` : ours;
}

/** An entry for every module, from its package.json and its licence. */
function modules(): string {
  const args = ['ls', '--omit=dev', '--all', '--parseable'];
  const { stdout } = execaSync('npm', args, { cwd: root, reject: false });
  const folders = stdout.split('\n').filter((path) => path.includes('/node_modules/'));
  return folders
    .map((folder) => {
      const { name, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
      const files = ['LICENSE', 'LICENSE.md', 'LICENSE.txt', 'license', 'LICENCE'];
      const file = files.map((each) => join(folder, each)).find((each) => existsSync(each));
      const text = file === undefined ? '' : readFileSync(file, 'utf8');
      const holder = /copyright (?:\(c\)|©)? *(.*)/i.exec(text)?.[1]?.trim() || 'its authors';
      const short = String(license ?? 'unknown')
        .replaceAll(/[()]/g, '')
        .replaceAll(' ', '-');
      return `\nFiles: usr/lib/libmalloc/node_modules/${name}/*\nCopyright: ${holder}\nLicense: ${short}\n See the file LICENSE in that folder.\n`;
    })
    .join('');
}
