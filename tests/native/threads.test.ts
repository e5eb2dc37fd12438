/** Many threads on one heap: the promises of each variant (tests/programs/threads-*.c). */
import { conformance } from '../lib/conform.ts';

conformance('threads');
