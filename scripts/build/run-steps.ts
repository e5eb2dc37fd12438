// Carries out the steps of a plan (native.ts): compiles several files at a time.

import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, relative } from 'node:path';
import { $, type ProcessOutput } from 'zx';
import { errorColor } from '../lib/color.ts';
import { describeFailure, Failure } from '../lib/errors.ts';
import { root } from '../lib/paths.ts';
import { compileCommand, formatCommands, readCommands, type Step, stale } from './native.ts';

/** Runs a tool and returns its output instead of printing it. */
export const quietly = $({ nothrow: true, quiet: true, cwd: root });

function here(file: string): string {
  return relative(root, file);
}

/** A Failure with one line that names the step, and the tool's whole output below it. */
export function broken(what: string, output: ProcessOutput): Failure {
  const said = `${output.stdout}${output.stderr}`.trimEnd();
  return new Failure(what, { code: 1, hint: said.split('\n').join('\n  ') });
}

/**
 * Compiles under another name and renames, so that a process that has the old library mapped keeps
 * it.
 */
async function compile(step: Step): Promise<Failure | undefined> {
  const draft = `${step.output}.${process.pid}`;
  mkdirSync(dirname(step.depfile), { recursive: true });
  const color = errorColor.isColorSupported ? ['-fdiagnostics-color=always'] : [];
  const output = await quietly`${[...step.command(draft), ...color]}`;
  if (output.exitCode !== 0) {
    rmSync(draft, { force: true });
    return broken(`${here(step.source)} does not compile`, output);
  }
  renameSync(draft, step.output);
  const seconds = (output.duration / 1000).toFixed(1);
  console.log(`  cc   ${here(step.source)} → ${here(step.output)}  ${seconds} s`);
  return undefined;
}

/** Runs `work` over all items, as many at a time as there are processors. */
async function together<T, R>(items: T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const queue = items.entries();
  const results: R[] = [];
  const worker = async (): Promise<void> => {
    for (const [index, item] of queue) results[index] = await work(item);
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return results;
}

/**
 * Compiles what of `plan` is stale; throws what the compiler said. `record` is the file that keeps
 * the commands, since another command makes a library stale, too.
 */
export async function runSteps(plan: Step[], record: string): Promise<void> {
  const commands = readCommands(record);
  const steps = plan.filter((s) => stale(s, commands.get(s.output)?.arguments));
  const failures = await together(steps, compile);
  steps.forEach((step, index) => {
    if (failures[index] === undefined) commands.set(step.output, compileCommand(step));
    else commands.delete(step.output);
  });
  mkdirSync(dirname(record), { recursive: true });
  writeFileSync(record, formatCommands(commands));
  const [first, ...others] = failures.filter((failure) => failure !== undefined);
  for (const failure of others) console.error(describeFailure(failure));
  if (first !== undefined) throw first;
}
