#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, type CommanderError } from 'commander';
import { describeFailure, Failure } from './lib/errors.ts';
import { root } from './lib/paths.ts';
import { requirePlatform } from './lib/platform.ts';
import { FAILED } from './lib/status.ts';
import { verbs } from './verbs.ts';

/** A wrong command line is our failure (125), never taken for the status of a program. */
function leave(error: CommanderError): never {
  process.exit(error.exitCode === 0 ? 0 : FAILED);
}

/** The command line with the verb that it begins with; with every verb that is built otherwise. */
async function program(wanted = ''): Promise<Command> {
  const { version, description } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const main = new Command('libmalloc')
    .description(description)
    .version(version)
    .showHelpAfterError('(libmalloc VERB --help explains a verb)')
    // `run -- ls -l`: what follows the verb's own arguments belongs to the program that is run.
    .enablePositionalOptions()
    .exitOverride(leave);
  const named = Object.entries(verbs).filter(([verb]) => verb === wanted);
  for (const [, load] of named.length > 0 ? named : Object.entries(verbs))
    main.addCommand((await load()).exitOverride(leave));
  return main;
}

try {
  if (process.argv[2] !== 'doctor') requirePlatform(); // the doctor says it in its own table
  await (await program(process.argv[2])).parseAsync();
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  process.stderr.write(`${describeFailure(error)}\n`);
  process.exitCode = error.code;
}
