/** The start and the end of a process, and unusual moments between them (tests/programs/lifecycle-*.c). */
import { conformance } from '../lib/conform.ts';

conformance('process', ({ name }) => !name.startsWith('fork'));
