// Touches memory before the first contest, because a virtual machine's host hands it out only then.

import { readFileSync } from 'node:fs';
import { freemem } from 'node:os';
import { execa } from 'execa';
import { progress } from '../lib/progress.ts';
import { workloadProgram } from './workload.ts';

/** The share of free memory to touch; the rest is for other processes. */
const SHARE = 0.75;

function isVirtual(): boolean {
  return /^flags\s*:.*\bhypervisor\b/m.test(readFileSync('/proc/cpuinfo', 'utf8'));
}

/**
 * On a virtual machine: touches most of the free memory once, so that no malloc pays for pages that the
 * host still has to find (tests/workloads/warm.c gives the prices). It takes some seconds, or a minute or
 * two on a machine that has just started. A failure is ignored: it only makes figures noisier.
 */
export async function warmMemory(): Promise<void> {
  if (!isVirtual()) return;
  progress('touching the free memory once: its first use is slow on a virtual machine');
  const bytes = Math.floor(freemem() * SHARE);
  await execa(workloadProgram('warm.c'), [String(bytes)], { reject: false });
  progress('');
}
