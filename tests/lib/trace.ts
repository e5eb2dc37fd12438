/** Reads traces for tests. */
import { Ledger, openTrace, opName, type TraceProcess } from '../../scripts/trace/trace.ts';

/** What a process did, according to a trace. */
export interface Sum {
  process: TraceProcess;
  /** Events by name. */
  events: Record<string, number>;
  ledger: Ledger;
  threads: number;
  /** Events that were earlier than the one before. */
  unordered: number;
  /** Nanoseconds of the last event. */
  end: number;
}

export interface Read {
  processes: Sum[];
  damage: string[];
  bytes: number;
}

/** All processes of a trace, each gone through from beginning to end. */
export function readTrace(file: string): Read {
  const trace = openTrace(file);
  const processes = trace.processes.map((process): Sum => {
    const ledger = new Ledger();
    const events: Record<string, number> = {};
    let [end, unordered] = [0, 0];
    for (const event of trace.events(process)) {
      ledger.apply(event);
      const name = opName(event.op) ?? '?';
      events[name] = (events[name] ?? 0) + 1;
      if (event.time < end) unordered++;
      end = event.time;
    }
    return { process, events, ledger, threads: trace.threads.length, unordered, end };
  });
  const { damage, bytes } = trace;
  trace.close();
  return { processes, damage, bytes };
}

/** The counts that tests/programs/traced.c prints about itself, for each process, by pid. */
export function ownCounts(stdout: string): Map<number, Record<string, number>> {
  const found = new Map<number, Record<string, number>>();
  for (const line of stdout.split('\n').filter((text) => text.startsWith('malloc='))) {
    const pairs = [...line.matchAll(/(\w+)=(\d+)/g)].map(([, name, n]) => [name, Number(n)]);
    const counts: Record<string, number> = Object.fromEntries(pairs);
    found.set(counts.pid as number, counts);
  }
  return found;
}
