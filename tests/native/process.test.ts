/** The beginning and the end of a process, and the odd places between (tests/programs/lifecycle-*.c). */
import { conformance } from '../lib/conform.ts';

conformance('process', ({ name }) => !name.startsWith('fork'));
