// Runs the programs that read debug information: llvm-symbolizer, or binutils' addr2line.
//
// Both read DWARF 5, inlined calls and the names of C++ and Rust. We prefer llvm-symbolizer, because
// it answers in JSON. It cannot read information that dwz moved to a common file. addr2line can, but
// it gives some inlined C++ functions the name of the function into which they were inlined.

import { readdirSync } from 'node:fs';
import { execa } from 'execa';
import { which } from '../malloc/programs.ts';

/** What a reader reports about one function at an address. */
export interface Answer {
  function: string | undefined;
  file: string | undefined;
  line: number | undefined;
}

/** Answers for each address of a file, innermost first; undefined if the reader failed. */
export type Reader = (
  file: string,
  addresses: readonly number[],
) => Promise<Answer[][] | undefined>;

/** Seconds that a reader may take for one file. A browser's debug information takes longer. */
const PATIENCE = 60;

async function ask(tool: string, args: string[], lines: string[]): Promise<string[] | undefined> {
  const { exitCode, stdout } = await execa(tool, args, {
    input: `${lines.join('\n')}\n`,
    timeout: PATIENCE * 1000,
    reject: false,
    stderr: 'ignore',
    maxBuffer: 2 ** 30,
    // The reader must not run under the malloc that the user preloads, nor use the network.
    env: { LD_PRELOAD: undefined, DEBUGINFOD_URLS: undefined },
  });
  return exitCode === 0 ? stdout.split('\n') : undefined;
}

interface LlvmSymbol {
  FunctionName: string;
  FileName: string;
  Line: number;
}

function llvm(tool: string): Reader {
  return async (file, addresses) => {
    const lines = addresses.map((address) => `0x${address.toString(16)}`);
    const said = await ask(tool, ['--output-style=JSON', `--obj=${file}`], lines);
    if (said === undefined) return undefined;
    return addresses.map((_, i) => {
      const symbols: LlvmSymbol[] = JSON.parse(said[i] || '{}').Symbol ?? [];
      return symbols.map((symbol) => ({
        function: symbol.FunctionName || undefined,
        file: symbol.FileName || undefined,
        line: symbol.Line || undefined,
      }));
    });
  };
}

function binutils(tool: string): Reader {
  return async (file, addresses) => {
    const lines = addresses.map((address) => `0x${address.toString(16)}`);
    const said = await ask(tool, ['-a', '-i', '-f', '-C', '-e', file], lines);
    if (said === undefined) return undefined;
    const answers: Answer[][] = [];
    for (let i = 0; i < said.length; i++) {
      if (/^0x[0-9a-f]+$/.test(said[i] ?? '')) {
        answers.push([]);
        continue;
      }
      const [name = '??', place = '??'] = said.slice(i, i + 2);
      i++;
      const [, source = '??', line] =
        /^(.*?):(\d+|\?)(?: \(discriminator \d+\))?$/.exec(place) ?? [];
      answers.at(-1)?.push({
        function: name.startsWith('??') ? undefined : name,
        file: source.startsWith('??') ? undefined : source,
        line: Number(line) || undefined,
      });
    }
    return answers.map(withoutEchoes);
  };
}

/** Drops the name of an inlined function if it equals its caller's: addr2line did not find its own. */
function withoutEchoes(answer: readonly Answer[]): Answer[] {
  return answer.map((each, i) => {
    const echo = each.function === answer[i + 1]?.function;
    return echo ? { ...each, function: undefined } : each;
  });
}

/** The path of an LLVM command, which distributions install with or without a version suffix. */
function llvmTool(name: string): string | undefined {
  const plain = which(name);
  if (plain !== undefined) return plain;
  const versions = readdirSync('/usr/bin').filter((file) => file.startsWith(`${name}-`));
  return which(versions.sort().at(-1) ?? name);
}

/** The readers of this machine, best first. */
export function readers(): { llvm: Reader | undefined; binutils: Reader | undefined } {
  const [symbolizer, addr2line] = [llvmTool('llvm-symbolizer'), which('addr2line')];
  return {
    llvm: symbolizer === undefined ? undefined : llvm(symbolizer),
    binutils: addr2line === undefined ? undefined : binutils(addr2line),
  };
}

/** Demangles names; maps a name that cannot be demangled to itself. */
export async function demangle(names: readonly string[]): Promise<Map<string, string>> {
  const mangled = [...new Set(names)].filter((name) => /^_[ZR]/.test(name));
  const tool = which('c++filt') ?? llvmTool('llvm-cxxfilt');
  if (tool === undefined || mangled.length === 0) return new Map();
  const said = await ask(tool, [], mangled);
  return new Map(mangled.map((name, i) => [name, said?.[i] || name]));
}
