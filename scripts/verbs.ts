import type { Command } from 'commander';

/**
 * Each verb is loaded on demand, because loading all of them takes longer than most programs run.
 */
export const verbs: Readonly<Record<string, () => Promise<Command>>> = {
  run: async () => (await import('./run/index.ts')).runCommand(),
  gdb: async () => (await import('./gdb/index.ts')).gdbCommand(),
  record: async () => (await import('./record/index.ts')).recordCommand(),
  replay: async () => (await import('./replay/index.ts')).replayCommand(),
  view: async () => (await import('./view/index.ts')).viewCommand(),
  bench: async () => (await import('./bench/index.ts')).benchCommand(),
  check: async () => (await import('./check/index.ts')).checkCommand(),
  layout: async () => (await import('./layout/index.ts')).layoutCommand(),
  profile: async () => (await import('./profile/index.ts')).profileCommand(),
  new: async () => (await import('./new/index.ts')).newCommand(),
  doctor: async () => (await import('./doctor/index.ts')).doctorCommand(),
};
