/** A dozen real programs under every variant that can run them: what they print is what glibc makes of it. */
import { conformance } from '../lib/conform.ts';

conformance('programs', ({ quick }) => quick);
