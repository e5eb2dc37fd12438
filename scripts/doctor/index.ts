import { Command } from 'commander';
import { color } from '../lib/color.ts';
import { writeJson } from '../lib/json.ts';
import { BAD } from '../lib/status.ts';
import { table } from '../lib/table.ts';
import { programs } from '../malloc/programs.ts';
import type { Check } from './check.ts';
import {
  checkLibraries,
  checkPeers,
  checkPreload,
  checkPrograms,
  checkVariables,
} from './libraries.ts';
import {
  checkCompiler,
  checkGdb,
  checkMake,
  checkNode,
  checkPlatform,
  checkPtrace,
  checkWatchpoints,
} from './machine.ts';

/** Makes all checks, the most important first. */
export async function examine(env: NodeJS.ProcessEnv = process.env): Promise<Check[]> {
  const tools = await Promise.all([
    checkCompiler(),
    checkMake(),
    checkGdb(),
    checkPtrace(),
    checkWatchpoints(),
  ]);
  return [
    checkPlatform(),
    checkNode(),
    ...tools,
    ...checkLibraries(),
    await checkPreload(),
    ...checkVariables(env),
    ...checkPeers(),
    checkPrograms(programs()),
  ];
}

const marks = {
  ok: color.green('ok'),
  wrong: color.red('wrong'),
  optional: color.yellow('optional'),
};

/** The table, and one line that sums it up. */
export function describe(checks: Check[]): string {
  const rows = checks.map(({ name, status, found, fix }) => {
    return [name, marks[status], fix === undefined ? found : `${found}; ${fix}`];
  });
  const amiss = checks.filter(({ status }) => status === 'wrong').length;
  const sum = amiss === 0 ? 'All that is needed is there.' : `${amiss} to fix.`;
  return `${table(['', '', 'found; what to do'], rows)}\n\n${sum}\n`;
}

/** `libmalloc doctor`: exit status 1 when something needed is missing. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description('look at the toolchain, preloading, gdb, peers: ok, or what to do')
    .option('--json <FILE>', 'the same as JSON (- is standard output)')
    .addHelpText(
      'after',
      '\nExit status: 0; 1 if something needed is missing; 125 if libmalloc failed.',
    )
    .action(async ({ json }: { json?: string }) => {
      const checks = await examine();
      const good = checks.every(({ status }) => status !== 'wrong');
      if (json !== '-') process.stdout.write(describe(checks));
      if (json !== undefined) writeJson('doctor', json, { ok: good, checks });
      if (!good) process.exitCode = BAD;
    });
}
