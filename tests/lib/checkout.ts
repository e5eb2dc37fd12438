// A separate checkout for tests that build, break and install; the real one is not changed.

import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { execa, execaSync } from 'execa';
import { root } from '../../scripts/lib/paths.ts';

const parts = ['Makefile', 'package.json', 'package-lock.json', 'tsconfig.json', 'gdbinit'];
const folders = ['docs', 'native', 'scripts', 'tests/workloads', 'tests/programs.json'];

/** The result of a command; `said` holds both outputs as a terminal would show them. */
export interface Outcome {
  status: number | undefined;
  said: string;
}

/** A copy of everything that is needed to build, under build/tests of the real checkout. */
export class Checkout {
  readonly folder: string;

  constructor() {
    // It is on the same file system, so that modules can be linked instead of copied.
    const parent = join(root, 'build', 'tests');
    mkdirSync(parent, { recursive: true });
    this.folder = mkdtempSync(join(parent, 'checkout-'));
    for (const part of [...parts, ...folders].filter((each) => existsSync(join(root, each)))) {
      cpSync(join(root, part), this.path(part), {
        recursive: true,
        preserveTimestamps: true,
        filter: (file) => file !== join(root, 'native', 'build'),
      });
    }
    execaSync('cp', ['-al', join(root, 'node_modules'), this.folder]);
  }

  /** The absolute path of a file in this checkout. */
  path(file: string): string {
    return join(this.folder, file);
  }

  /** Runs a command here; ended, with all that it started, after three minutes. */
  async run(command: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
    const child = execa(command, args, {
      cwd: this.folder,
      env: { MAKEFLAGS: undefined, MAKELEVEL: undefined, VARIANT: undefined, ...env },
      reject: false,
      all: true,
      detached: true,
      stdin: 'ignore',
    });
    const timer = setTimeout(() => process.kill(-(child.pid as number), 'SIGKILL'), 180_000);
    const { exitCode, all } = await child;
    clearTimeout(timer);
    return { status: exitCode, said: all };
  }

  make(args: string[] = [], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
    return this.run('make', args, env);
  }

  /** When a file was last written, in milliseconds. */
  age(file: string): number {
    return statSync(this.path(file)).mtimeMs;
  }

  touch(file: string): void {
    const now = new Date();
    utimesSync(this.path(file), now, now);
  }

  /** Runs `work` with other text in a file, and puts the old text back. */
  async edited<T>(
    file: string,
    edit: (text: string) => string,
    work: () => Promise<T>,
  ): Promise<T> {
    const before = readFileSync(this.path(file), 'utf8');
    writeFileSync(this.path(file), edit(before));
    try {
      return await work();
    } finally {
      writeFileSync(this.path(file), before);
    }
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
