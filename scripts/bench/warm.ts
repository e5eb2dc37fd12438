// Before the first contest: memory that the machine's host has not handed out yet.

import { readFileSync } from 'node:fs';
import { freemem } from 'node:os';
import { execa } from 'execa';
import { progress } from '../lib/progress.ts';
import { workloadProgram } from './workload.ts';

/** How much of what is free: the rest is for whoever else needs memory meanwhile. */
const SHARE = 0.75;

function isVirtual(): boolean {
  return /^flags\s*:.*\bhypervisor\b/m.test(readFileSync('/proc/cpuinfo', 'utf8'));
}

/**
 * On a virtual machine: touches most of the free memory once, so that no malloc pays for pages that
 * the host has still to find (tests/workloads/warm.c has the prices). Some seconds; a minute or
 * two on a machine that has just started. A failure is no matter: the figures are noisier then.
 */
export async function warmMemory(): Promise<void> {
  if (!isVirtual()) return;
  progress('touching the free memory once: its first use is slow on a virtual machine');
  const bytes = Math.floor(freemem() * SHARE);
  await execa(workloadProgram('warm.c'), [String(bytes)], { reject: false });
  progress('');
}
