// The compilers that make libraries for other machines than this one.

import { Failure } from '../lib/errors.ts';
import { which } from '../malloc/programs.ts';

/** A compiler for a platform, and the Debian packages that bring it. */
interface Toolchain {
  command: string[];
  packages: string;
}

/** The platforms of `make prebuilds`, on Debian on x86-64. */
export const platforms: Readonly<Record<string, Toolchain>> = {
  'linux-x64-glibc': { command: ['x86_64-linux-gnu-gcc'], packages: 'gcc libc6-dev' },
  'linux-x64-musl': { command: ['x86_64-linux-musl-gcc'], packages: 'musl-tools' },
  'linux-arm64-glibc': { command: ['aarch64-linux-gnu-gcc'], packages: 'gcc-aarch64-linux-gnu' },
  'linux-arm64-musl': { command: ['aarch64-linux-musl-gcc'], packages: 'musl-dev:arm64' },
};

/** The words that start the compiler for a platform; throws a Failure that says what to install. */
export function compilerFor(platform: string): string[] {
  const toolchain = platforms[platform];
  if (toolchain === undefined)
    throw new Failure(`nothing is prebuilt for ${platform}`, {
      hint: `there are: ${Object.keys(platforms).join(', ')}`,
      code: 1,
    });
  const { command, packages } = toolchain;
  if (which(command[0] ?? '') !== undefined) return command;
  throw new Failure(`no compiler for ${platform}: ${command[0]} is missing`, {
    hint: `apt-get install ${packages}`,
    code: 1,
  });
}
