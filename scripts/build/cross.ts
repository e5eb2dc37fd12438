// Compiles native/ for another platform.
//
//     tsx scripts/build/cross.ts TARGET FOLDER [release|debug]
//     tsx scripts/build/cross.ts --compiler TARGET        prints the compiler and its arguments
//
// TARGET is one of cross-targets.ts. Against glibc, the result runs with 2.31 and newer.

import { join, resolve } from 'node:path';
import { describeFailure, Failure } from '../lib/errors.ts';
import { targetCompiler, targetOf, targets } from './cross-targets.ts';
import { planNative } from './native.ts';
import { runSteps } from './run-steps.ts';

try {
  const [first, second, third = 'release'] = process.argv.slice(2);
  if (first === undefined || second === undefined || (third !== 'release' && third !== 'debug')) {
    const hint = `targets: ${targets.map(({ name }) => name).join(', ')}`;
    throw new Failure('cross.ts TARGET FOLDER [release|debug]', { hint });
  }
  if (first === '--compiler') {
    console.log(targetCompiler(targetOf(second)).join(' '));
  } else {
    const folder = resolve(second);
    const cc = targetCompiler(targetOf(first));
    await runSteps(planNative(third, { folder, cc }), join(folder, '.deps', 'commands.json'));
  }
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  console.error(describeFailure(error));
  process.exitCode = error.code;
}
