/** Memory, addresses and mappings end; somebody else moves the break (tests/programs/exhaustion-*.c). */
import { conformance } from '../lib/conform.ts';

conformance('exhaustion');
