// Splits the help of each verb into parts, from which we generate man pages and completions.

import type { Command } from 'commander';
import { verbs } from '../verbs.ts';

/** One option of a verb. */
export interface VerbOption {
  /** `-m, --malloc <M>`. */
  flags: string;
  /** `-m` and `--malloc`. */
  names: string[];
  /** `M`; undefined for a switch. */
  value: string | undefined;
  /** The values that it allows; empty if it allows any. */
  choices: string[];
  description: string;
  otherwise: string | undefined;
}

/** The help of one verb. */
export interface VerbHelp {
  name: string;
  summary: string;
  description: string;
  /** `[options] -- CMD…`. */
  usage: string;
  arguments: { name: string; description: string }[];
  options: VerbOption[];
  /** The text below the options, exit status included. */
  notes: string;
}

/** The text that `--help` prints. */
export function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({
    writeOut: (piece) => {
      text += piece;
    },
  });
  command.outputHelp();
  return text;
}

function optionOf(option: Command['options'][number]): VerbOption {
  const { flags, short, long, argChoices = [], description, defaultValue } = option;
  const empty = defaultValue === undefined || (Array.isArray(defaultValue) && !defaultValue.length);
  return {
    flags,
    names: [short, long].filter((name) => name !== undefined && name !== null) as string[],
    value: /[<[](.+?)(?:\.\.\.)?[>\]]/.exec(flags)?.[1],
    choices: [...argChoices],
    description,
    otherwise: empty ? undefined : String(option.defaultValueDescription ?? defaultValue),
  };
}

function verbHelp(command: Command): VerbHelp {
  const help = helpOf(command);
  const below = help.slice(command.helpInformation().length).trim();
  return {
    name: command.name(),
    summary: command.summary() || command.description(),
    description: command.description(),
    usage: command.usage(),
    arguments: command.registeredArguments.map((argument) => ({
      name: argument.name(),
      description: argument.description,
    })),
    options: command.options.filter(({ hidden }) => !hidden).map(optionOf),
    notes: below,
  };
}

/** Every verb, in the order of `libmalloc --help`. */
export async function allVerbs(): Promise<VerbHelp[]> {
  const loaded = Object.values(verbs).map(async (load) => verbHelp(await load()));
  return Promise.all(loaded);
}
