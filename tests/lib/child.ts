/**
 * Cases that may crash or hang without taking the run with them.
 *
 * A test file lists its cases with `isolated`. Under vitest each group of cases gets a process of
 * its own, which runs them one by one; a case whose process dies or stops answering fails under
 * its own name, and the next case gets a new process. The process is the same file once more, started
 * by node, so that one case can be run alone, under a debugger too:
 *
 *     node --import tsx tests/ffi/ffi.test.ts --cases GROUP [CASE]
 */
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa, type ResultPromise } from 'execa';
import { root } from '../../scripts/lib/paths.ts';

interface CaseOptions {
  /** Seconds until the process counts as hung; 30 unless said otherwise. */
  timeout?: number;
}

/** Declares a case; `skip` declares one that this malloc cannot support by design, with the reason. */
export interface Declare {
  (name: string, body: () => void | Promise<void>, options?: CaseOptions): void;
  skip(name: string, reason: string): void;
}

export interface GroupOptions {
  /** Environment of the group's process, on top of ours. */
  env?: Record<string, string>;
}

interface Case {
  name: string;
  body: () => void | Promise<void>;
  timeout: number;
}

type Running = ResultPromise<{ ipc: true; reject: false; all: true; buffer: false }>;
interface Process {
  running: Running;
  printed: string;
}

/** What a process answers when a case has run. */
interface Answer {
  error?: { message: string; stack: string };
}

const FLAG = '--cases';
/** Exit status of a process that cannot run its cases (mallocs.ts: calmBreak). */
const UNFIT = 75;
const ATTEMPTS = 10;
const [wantedGroup, wantedCase] = process.argv.includes(FLAG)
  ? process.argv.slice(process.argv.indexOf(FLAG) + 1)
  : [];

/** Lists the cases of one group of the test file `url`. */
export async function isolated(
  url: string,
  group: string,
  list: (it: Declare) => void,
  options: GroupOptions = {},
): Promise<void> {
  if (wantedGroup === undefined) await declareTests(fileURLToPath(url), group, list, options);
  else if (wantedGroup === group) await serve(collect(list));
}

function collect(
  list: (it: Declare) => void,
  skipped = (_name: string, _reason: string) => {},
): Case[] {
  const cases: Case[] = [];
  const it = (name: string, body: Case['body'], { timeout = 30 }: CaseOptions = {}): void => {
    cases.push({ name, body, timeout });
  };
  list(Object.assign(it, { skip: skipped }));
  return cases;
}

// ── in vitest ──────────────────────────────────────────────────────────────────

async function declareTests(
  file: string,
  group: string,
  list: (it: Declare) => void,
  options: GroupOptions,
): Promise<void> {
  const { afterAll, describe, test } = await import('vitest');
  describe(group, () => {
    const child = new Child(file, group, options);
    const skipped = (name: string, reason: string): void =>
      void test(name, (context) => context.skip(reason));
    for (const { name, timeout } of collect(list, skipped))
      test(name, () => child.run(name, timeout), (timeout + 30) * 1000);
    afterAll(() => child.stop());
  });
}

class Child {
  readonly #command: string[];
  readonly #env: Record<string, string>;
  #process: Process | undefined;

  constructor(file: string, group: string, options: GroupOptions) {
    this.#command = ['--import', 'tsx', relative(root, file), FLAG, group];
    this.#env = options.env ?? {};
  }

  async run(name: string, timeout: number): Promise<void> {
    const child = this.#process ?? (await this.#start(timeout));
    const printedBefore = child.printed.length;
    const answer = listen(child, timeout);
    await child.running.sendMessage({ run: name }).catch(() => {}); // gone: `answer` says so
    const outcome = await answer;
    if (typeof outcome === 'object') return report(outcome as Answer);
    const end = await this.stop();
    const how = outcome === 'silent' ? `hung for ${timeout} s` : end;
    const alone = ['node', ...this.#command, name]
      .map((word) => (/[\s()]/.test(word) ? `'${word.replaceAll("'", "'\\''")}'` : word))
      .join(' ');
    const printed = child.printed.slice(printedBefore);
    throw new Error(`the process of this case ${how}\n${printed}to run it alone: ${alone}`);
  }

  /** Ends the process and all that it started; says how it ended. */
  async stop(): Promise<string> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined) return 'was not running';
    try {
      process.kill(-(child.running.pid as number), 'SIGKILL');
    } catch {
      // already gone
    }
    const { signal, exitCode } = await child.running;
    return signal === undefined ? `exited with status ${exitCode}` : `died of ${signal}`;
  }

  async #start(timeout: number): Promise<Process> {
    let end = '';
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const child = this.#spawn();
      if ((await listen(child, timeout)) === 'ready') return child;
      end = `${await this.stop()} at its start\n${child.printed}`;
      if (!end.startsWith(`exited with status ${UNFIT}`)) break;
    }
    throw new Error(`the process of the cases ${end}`);
  }

  #spawn(): Process {
    const running = execa(process.execPath, this.#command, {
      cwd: root,
      env: this.#env,
      ipc: true,
      reject: false,
      all: true,
      buffer: false,
      detached: true,
    });
    const child = { running, printed: '' };
    running.all.on('data', (data: Buffer) => {
      child.printed += data.toString();
    });
    this.#process = child;
    return child;
  }
}

/** The next message; 'silent' when none comes in time, 'gone' when none can. */
async function listen(child: Process, seconds: number): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise((resolve) => {
    timer = setTimeout(resolve, seconds * 1000, 'silent');
  });
  const message = child.running.getOneMessage().catch(() => 'gone');
  return Promise.race([message, silence]).finally(() => clearTimeout(timer));
}

function report({ error }: Answer): void {
  if (error === undefined) return;
  const failure = new Error(error.message);
  failure.stack = error.stack;
  throw failure;
}

// ── in the process of the cases ───────────────────────────────────────────────

async function answerTo(each: Case): Promise<Answer> {
  try {
    await each.body();
    return {};
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    return { error: { message: error.message, stack: error.stack ?? error.message } };
  }
}

async function serve(cases: Case[]): Promise<void> {
  const { calmBreak } = await import('./mallocs.ts');
  if (!calmBreak()) process.exit(UNFIT);
  if (process.send === undefined) {
    await runAlone(cases.filter(({ name }) => wantedCase === undefined || name === wantedCase));
    return;
  }
  const byName = new Map(cases.map((each) => [each.name, each]));
  process.on('message', async ({ run }: { run: string }) => {
    const each = byName.get(run);
    process.send?.(
      each ? await answerTo(each) : { error: { message: `no case ${run}`, stack: '' } },
    );
  });
  process.send('ready');
}

async function runAlone(cases: Case[]): Promise<void> {
  for (const each of cases) {
    process.stdout.write(`${each.name} … `);
    const { error } = await answerTo(each);
    process.stdout.write(error ? `failed\n${error.stack}\n` : 'ok\n');
    if (error) process.exitCode = 1;
  }
}
