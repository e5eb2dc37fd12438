/** Some seventy real programs under every variant that can run them, and under glibc. */
import { conformance } from './lib/conform.ts';

conformance('programs');
