/** The other sixty real programs of `libmalloc check --group programs`. */
import { conformance } from '../lib/conform.ts';

conformance('programs', ({ quick }) => !quick);
