// A library or program that is neither built nor prebuilt here is compiled when it is first needed,
// with `cc` alone. So an installation needs no compiler, no Python and no install script.

import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { execaSync } from 'execa';
import { Failure } from '../lib/errors.ts';
import { compiler, libraryArguments, programArguments, variantArguments } from '../lib/flags.ts';
import { findNative, isCheckout, onDemandFolder } from '../lib/native-files.ts';
import { type Kind, root } from '../lib/paths.ts';
import { libc, platformName, requirePlatform } from '../lib/platform.ts';
import { prebuiltFault } from '../lib/prebuilt.ts';

/**
 * The absolute path of a native file such as `libmalloc-list.so`, compiled first if there is none.
 * In a checkout `make` compiles; there, and where the compiler fails, it throws a Failure.
 */
export function provideNative(file: string, kind: Kind = 'release'): string {
  return findNative(file, kind) ?? compileOnDemand(file, kind);
}

function compileOnDemand(file: string, kind: Kind): string {
  if (isCheckout) {
    const hint = `run \`${kind === 'debug' ? 'make debug' : 'make'}\` in ${root}`;
    throw new Failure(`${file} is not built`, { hint });
  }
  requirePlatform();
  const absent = `${file} is not prebuilt for ${platformName()}`;
  const why = kind === 'debug' ? 'debug builds are not prebuilt' : (prebuiltFault() ?? absent);
  const folder = onDemandFolder(kind);
  const output = join(folder, file);
  mkdirSync(folder, { recursive: true });
  const draft = `${output}.${process.pid}`;
  const [command = 'cc', ...words] = [...compiler(), ...compileLine(file, kind, draft)];
  process.stderr.write(`libmalloc: ${why}; compiling ${file} with ${command}, once\n`);
  const result = execaSync(command, words, { cwd: root, reject: false });
  if (result.failed) {
    rmSync(draft, { force: true });
    throw compileFailure(file, command, result.code, result.stderr);
  }
  renameSync(draft, output);
  return output;
}

/** The same flags as `make` uses, but a warning of a compiler that we do not know is no error. */
function compileLine(file: string, kind: Kind, output: string): string[] {
  const [, name = '', suffix] = /^libmalloc-(\w+)(\.so)?$/.exec(file) ?? [];
  const variant = join(root, 'native', `${name}.c`);
  const source = existsSync(variant) ? variant : join(root, 'native', 'tools', `${name}.c`);
  const line = source === variant ? variantArguments : suffix ? libraryArguments : programArguments;
  return line(kind, source, output).filter((word) => word !== '-Werror');
}

const packages = (): string =>
  libc() === 'musl' ? 'apk add gcc musl-dev linux-headers' : 'apt-get install gcc libc6-dev';

/** Names what is missing: the compiler, a header, or else what the compiler said. */
function compileFailure(
  file: string,
  command: string,
  code: string | undefined,
  said: string,
): Failure {
  if (code === 'ENOENT')
    return new Failure(`${file} has to be compiled, and there is no C compiler (${command})`, {
      hint: `${packages()}, or set CC`,
    });
  const header = /fatal error: (?:')?([\w/.-]+\.h)/.exec(said)?.[1];
  if (header !== undefined && !existsSync(join(root, 'native', header)))
    return new Failure(`${file} has to be compiled, and the header ${header} is missing`, {
      hint: packages(),
    });
  return new Failure(`${file} does not compile:\n${said.trimEnd()}`, {
    hint: `another compiler may do: CC=clang`,
  });
}
