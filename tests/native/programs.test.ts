/** A dozen real programs print the same under every variant that can run them as under glibc. */
import { conformance } from '../lib/conform.ts';

conformance('programs', ({ quick }) => quick);
