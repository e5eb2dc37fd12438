import { resolveMalloc, variants } from '../../scripts/malloc/mallocs.ts';

/**
 * Every variant that declares itself, for `describe.each(everyVariant)('%s', (name) => …)`. One
 * that is declared but not built fails in `variantFile`, by name.
 */
export const everyVariant: readonly string[] = variants();

/** The path of a variant's library; throws a Failure that says `make` when it is not built. */
export function variantFile(name: string, options: { debug?: boolean } = {}): string {
  const { file } = resolveMalloc(name, options);
  if (file === undefined) throw new Error(`${name} has no library of its own`);
  return file;
}
