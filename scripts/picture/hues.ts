// The colours of all pictures.

export const ink = '#24292f';
export const pale = '#6e7781';

/** The hues of Observable's palette, which people with colour blindness can tell apart, too. */
export const hue = {
  blue: '#4269d0',
  yellow: '#efb118',
  red: '#ff725c',
  cyan: '#6cc5b0',
  green: '#3ca951',
  pink: '#ff8ab7',
  purple: '#a463f2',
  sky: '#97bbf5',
  brown: '#9c6b4e',
  grey: '#9498a0',
};

// Each known malloc has the same colour in all pictures; others get the spare ones.
const colors: Record<string, string> = {
  dumb: hue.grey,
  list: hue.red,
  buddy: '#b07aa1',
  paged: hue.blue,
  sharded: hue.green,
  glibc: ink,
  jemalloc: hue.yellow,
  tcmalloc: hue.purple,
  mimalloc: hue.cyan,
  scudo: hue.brown,
};
const spare = [hue.pink, hue.sky, '#c9a227', '#b5bd00', '#007a87', '#c98500'];

/** The colours of these mallocs, for Plot; unknown ones get the spare colours in their order. */
export function colorScale(names: readonly string[]): { domain: string[]; range: string[] } {
  const strangers = names.filter((name) => colors[name] === undefined);
  const colorOf = (name: string) =>
    colors[name] ?? spare[strangers.indexOf(name) % spare.length] ?? ink;
  return { domain: [...names], range: names.map(colorOf) };
}
