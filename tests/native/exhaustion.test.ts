/** Memory, addresses and mappings run out; the program moves the break (tests/programs/exhaustion-*.c). */
import { conformance } from '../lib/conform.ts';

conformance('exhaustion');
