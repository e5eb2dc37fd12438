/** Many threads on one heap: what each variant promises them (tests/programs/threads-*.c). */
import { conformance } from '../lib/conform.ts';

conformance('threads');
