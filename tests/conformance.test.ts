/** What each call does, what becomes of memory, any calls in any order: see scripts/lib/check. */
import { conformance } from './lib/conform.ts';

const long = process.env.LONG === '1';

conformance('semantics');
conformance('structure', ({ quick }) => quick || long);
conformance('misuse', ({ promised }) => promised);
conformance('random');
