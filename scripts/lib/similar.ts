import { distance } from 'fastest-levenshtein';

/** So many letters may differ; in three letters one, as `lst` for list. */
const most = (given: string): number => (given.length < 4 ? 1 : Math.min(3, given.length / 2));

/** Letters that changed places are one slip, not two. */
const letters = (word: string): string => [...word].sort().join('');
const slips = (a: string, b: string): number =>
  letters(a) === letters(b) ? Math.min(1, distance(a, b)) : distance(a, b);

/** The known name that somebody who typed `given` probably meant. */
function similar(given: string, known: readonly string[]): string | undefined {
  const word = given.toLowerCase();
  if (word.length < 2) return undefined;
  const begun = known.find((name) => word.length > 2 && name.toLowerCase().startsWith(word));
  if (begun !== undefined) return begun;
  const [best] = known
    .map((name) => ({ name, far: slips(word, name.toLowerCase()) }))
    .sort((a, b) => a.far - b.far);
  return best !== undefined && best.far <= most(word) ? best.name : undefined;
}

/** `did you mean list? `, to stand before a list of what is known; empty when nothing is similar. */
export function didYouMean(given: string, known: readonly string[]): string {
  const name = similar(given, known);
  return name === undefined ? '' : `did you mean ${name}? `;
}
