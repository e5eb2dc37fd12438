#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, type CommanderError } from 'commander';
import { describeFailure, Failure, reasonOf } from './lib/errors.ts';
import { checkOutputs } from './lib/outputs.ts';
import { root } from './lib/paths.ts';
import { requirePlatform } from './lib/platform.ts';
import { didYouMean } from './lib/similar.ts';
import { BROKEN_PIPE, FAILED } from './lib/status.ts';
import { checkArguments } from './lib/utf8.ts';
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
    .exitOverride(leave)
    .hook('preAction', (_, verb) => checkOutputs(verb.opts()));
  const named = Object.entries(verbs).filter(([verb]) => verb === wanted);
  for (const [, load] of named.length > 0 ? named : Object.entries(verbs))
    main.addCommand((await load()).exitOverride(leave));
  return main;
}

/** Commander shows the whole usage for `help` of a verb that is none, and no word of why. */
function checkHelp([first, verb]: string[]): void {
  const known = Object.keys(verbs);
  if (first !== 'help' || verb === undefined || ['help', ...known].includes(verb)) return;
  throw new Failure(`there is no verb ${verb}`, {
    hint: `${didYouMean(verb, known)}the verbs are: ${known.join(', ')}`,
  });
}

/** If the reader of a pipe stops (`| head`), we end as by SIGPIPE; other errors are reported. */
function outputFailed(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(BROKEN_PIPE);
  process.stderr.write(`libmalloc: cannot write to standard output: ${reasonOf(error)}\n`);
  process.exit(FAILED);
}

process.stdout.on('error', outputFailed);
process.stderr.on('error', () => {}); // there is nowhere left to say it

try {
  if (process.argv[2] !== 'doctor') requirePlatform(); // the doctor says it in its own table
  checkArguments();
  checkHelp(process.argv.slice(2));
  await (await program(process.argv[2])).parseAsync();
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  process.stderr.write(`${describeFailure(error)}\n`);
  process.exitCode = error.code;
}
