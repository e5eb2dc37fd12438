import { fileURLToPath } from 'node:url';
import { configDefaults, defineConfig } from 'vitest/config';
import { LongestFirst } from './lib/longest.ts';

// Tests that take long end in .long.test.ts; `make test-long` runs them too.
const long = process.env.LONG === '1';
// Other systems and compilers: `make ports`.
const ports = process.env.PORTS === '1';

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  test: {
    include: ['tests/**/*.test.ts'],
    exclude: [
      ...configDefaults.exclude,
      'build/**',
      ...(long ? [] : ['**/*.long.test.ts']),
      ...(ports ? [] : ['**/*.ports.test.ts']),
    ],
    // A process per file: a test that loads a malloc must not share its heap with another.
    pool: 'forks',
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    testTimeout: 180_000,
    hookTimeout: 180_000,
    reporters: [fileURLToPath(new URL('lib/reporter.ts', import.meta.url))],
  },
});
