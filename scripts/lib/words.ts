// Words of a command line. Our own, because zx's quote writes $'…', which dash does not read.

/** A word as a POSIX shell reads it. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** A command line that a POSIX shell reads back as these words. */
export function shellLine(words: readonly (string | number)[]): string {
  return words.map((word) => shellWord(String(word))).join(' ');
}
