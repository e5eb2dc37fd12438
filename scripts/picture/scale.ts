// Shared by pictures with logarithmic axes: data, ticks, labels that do not overlap.

/** One line or one dot: usually a malloc. */
export interface Series {
  name: string;
  points: { x: number; y: number }[];
}

export interface Panel {
  /** Says the unit of y as well: "CPU per call, ns". */
  title: string;
  /** Under the horizontal axis. */
  x: string;
  series: Series[];
  /** Both axes, from zero on; logarithmic by default. */
  linear?: true;
}

/**
 * Moves positions (pixels, any order) apart until neighbours are `distance` away from each other, each
 * as little as possible. It separates labels at the ends of lines that end close together.
 */
export function spreadOut(positions: number[], distance: number): number[] {
  const order = positions.map((at, index) => ({ at, index })).sort((a, b) => a.at - b.at);
  const groups: { sum: number; members: number[] }[] = [];
  const start = (group: { sum: number; members: number[] }) =>
    group.sum / group.members.length - ((group.members.length - 1) * distance) / 2;
  for (const { at, index } of order) {
    let group = { sum: at, members: [index] };
    for (;;) {
      const last = groups.at(-1);
      if (last === undefined || start(last) + last.members.length * distance <= start(group)) break;
      groups.pop();
      group = { sum: last.sum + group.sum, members: [...last.members, ...group.members] };
    }
    groups.push(group);
  }
  const result = [...positions];
  for (const group of groups) {
    for (const [place, index] of group.members.entries())
      result[index] = start(group) + place * distance;
  }
  return result;
}

export function extent(values: number[]): [number, number] {
  return [Math.min(...values), Math.max(...values)];
}

/** Ticks of a logarithmic axis: powers of ten, and 2 and 5 between them where those are few. */
export function ticks(low: number, high: number): number[] {
  const decades = Array.from(
    { length: Math.ceil(Math.log10(high)) - Math.floor(Math.log10(low)) + 1 },
    (_, i) => 10 ** (Math.floor(Math.log10(low)) + i),
  );
  const inside = (all: number[]) => all.filter((at) => at >= low && at <= high);
  const coarse = inside(decades);
  return coarse.length > 2 ? coarse : inside(decades.flatMap((at) => [at, 2 * at, 5 * at]));
}

export const centred = { labelAnchor: 'center', labelArrow: 'none' } as const;
