// `make install`, `make uninstall` and `make deb`.
//
//     node build/js/system/index.js install|uninstall|deb --prefix /usr/local [--libdir lib]
//         [--destdir FOLDER] [--variant NAME]

import { rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { execaSync } from 'execa';
import { describeFailure, Failure } from '../lib/errors.ts';
import { defaultVariant } from '../malloc/mallocs.ts';
import { buildPackages } from './deb.ts';
import { type Places, packageFiles, packageFolder, sharedFiles } from './files.ts';
import { putAll, removeAll } from './put.ts';

/** Renews the dynamic linker's cache, by which it finds a new library; only root can do that. */
function renewCache(): void {
  if (process.getuid?.() === 0) execaSync('ldconfig', { reject: false });
}

async function install(places: Places, target: string, variant: string): Promise<void> {
  rmSync(join(target, packageFolder), { recursive: true, force: true });
  putAll(target, [...packageFiles(), ...(await sharedFiles(places, variant))]);
}

/** Removes the files that `install` wrote, and folders that are then empty. */
async function uninstall(places: Places, target: string, variant: string): Promise<void> {
  rmSync(join(target, packageFolder), { recursive: true, force: true });
  const entries = await sharedFiles(places, variant);
  removeAll(target, [...entries.map(({ path }) => path), packageFolder]);
}

try {
  const { values, positionals } = parseArgs({
    options: {
      prefix: { type: 'string', default: '/usr/local' },
      libdir: { type: 'string', default: '' },
      destdir: { type: 'string', default: '' },
      variant: { type: 'string', default: defaultVariant() },
    },
    allowPositionals: true,
  });
  const { prefix, libdir, destdir, variant } = values;
  if (!prefix.startsWith('/'))
    throw new Failure(`the prefix '${prefix}' is not an absolute path`, {
      hint: 'give one, such as PREFIX=/usr/local',
    });
  const lib = libdir === '' ? 'lib' : relative(prefix, libdir);
  if (lib.startsWith('..'))
    throw new Failure(`LIBDIR ${libdir} is not below PREFIX ${prefix}`, {
      hint: 'give a folder below it, such as LIBDIR=/usr/local/lib64',
    });
  const target = join(destdir, prefix);
  const places = { prefix, lib };
  const [verb] = positionals;
  if (verb === 'install') {
    await install(places, target, variant);
    const names = `${lib}/libmalloc.so (${variant}), include/libmalloc.h, share/man/man1/libmalloc.1`;
    console.log(`Installed under ${target}: bin/libmalloc, ${names}`);
  } else if (verb === 'uninstall') {
    await uninstall(places, target, variant);
    console.log(`Removed from ${target}`);
  } else if (verb === 'deb') {
    for (const file of await buildPackages(variant)) console.log(`  deb  ${file}`);
  } else throw new Failure(`unknown command: ${verb}`, { hint: 'install, uninstall or deb' });
  if (verb !== 'deb' && destdir === '') renewCache();
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  console.error(describeFailure(error));
  process.exitCode = error.code;
}
