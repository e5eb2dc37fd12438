// Stacks in the order that people ask for: by the line that wanted the memory.

import { describeFrame, type Frame } from '../symbols/frame.ts';
import type { Amount, Profile } from '../trace/profile.ts';
import { amountOf, type Measure, type Stack, stacksOf } from './measures.ts';

/** A line of the source, and what was allocated for it. */
export interface Place extends Amount {
  /** `make_list (list.c:12)` */
  where: string;
  /** By whom it was called in the stack with the most bytes, the nearest first. */
  callers: string[];
  /** Seconds, in the mean of its blocks. */
  meanAge: number;
  /** What still points to live blocks, the most bytes first; empty if it was not searched. */
  holders: Holder[];
}

/** `root` is undefined for what is lost. */
interface Holder extends Amount {
  root: string | undefined;
}

/** Functions that allocate on behalf of their callers; reports name the callers instead. */
const servants = [
  /^(__libc_|__|_)?(malloc|calloc|realloc|memalign|aligned_alloc|posix_memalign|reallocarray)$/,
  /^operator new/,
  /^(std|__gnu_cxx)::/,
  /^(void|bool|auto|char|int|unsigned|long|std::\S.*|\S+\*?&?) (std|__gnu_cxx)::/,
  /^_?x(m|c|re)alloc\w*$/,
  /^(g_(try_)?(malloc|realloc|new)\w*|z(try)?(m|c|re)alloc\w*|je_\w*alloc)$/,
  /^(strdup|strndup|__strdup|xstrdup|vasprintf|asprintf|_?_?getline|getdelim|_?_?getdelim)$/,
];

/** Whether a function only passes on what its caller wants. */
function isServant({ named, function: name }: Frame): boolean {
  return named && servants.some((pattern) => pattern.test(name));
}

/** The frames from the one that wanted the memory on; all of them where every one is a servant. */
export function wanting(frames: readonly Frame[]): readonly Frame[] {
  const first = frames.findIndex((frame) => !isServant(frame));
  return first < 0 ? frames : frames.slice(first);
}

/** `make_list (list.c:12)`, without the parameters and template arguments of C++. */
export function shortFrame(frame: Frame): string {
  const short = frame.named ? shortName(frame.function) : frame.function;
  return describeFrame({ ...frame, function: short });
}

/** An operator whose name has brackets in it. */
const operator = /\boperator(\(\)|<=>|<<=?|>>=?|->\*?|[<>]=?)/y;

/** A name in C++ without what stands between brackets, and without the type of its result. */
export function shortName(name: string): string {
  if (!/[<(]/.test(name)) return name;
  const text = name.replaceAll('(anonymous namespace)', '{anonymous}');
  let [out, depth] = ['', 0];
  for (let i = 0; i < text.length; i++) {
    operator.lastIndex = i;
    const found = depth === 0 ? operator.exec(text)?.[0] : undefined;
    const c = text[i] as string;
    if (found !== undefined) {
      out += found;
      i += found.length - 1;
    } else if ('<('.includes(c)) depth++;
    else if ('>)'.includes(c)) depth--;
    else if (depth === 0) out += c;
  }
  const bare = out.replace(/( const| volatile| &&?| \[clone .*\])+$/, '');
  return /\S*\boperator\b.*$/.exec(bare)?.[0] ?? bare.split(' ').at(-1) ?? bare;
}

/** Places by the bytes of a measure, the most first. */
export function placesOf(profile: Profile, measure: Measure): Place[] {
  const groups = new Map<string, Stack[]>();
  for (const stack of stacksOf(profile)) {
    if (amountOf(stack.site, measure).bytes <= 0) continue;
    const [first] = wanting(stack.frames);
    const key = first ? shortFrame(first) : unknown;
    const group = groups.get(key) ?? [];
    groups.set(key, group);
    group.push(stack);
  }
  const places = [...groups].map(([where, stacks]) => placeOf(where, stacks, measure));
  return places.sort((a, b) => b.bytes - a.bytes || a.where.localeCompare(b.where));
}

const unknown = 'an unknown stack';

function placeOf(where: string, stacks: readonly Stack[], measure: Measure): Place {
  const total = { bytes: 0, blocks: 0, ages: 0, allocated: 0 };
  let heaviest = stacks[0] as Stack;
  for (const stack of stacks) {
    const { site } = stack;
    const { bytes, blocks } = amountOf(site, measure);
    total.bytes += bytes;
    total.blocks += blocks;
    total.ages += site.meanAge * site.allocated.blocks;
    total.allocated += site.allocated.blocks;
    if (bytes > amountOf(heaviest.site, measure).bytes) heaviest = stack;
  }
  return {
    where,
    bytes: total.bytes,
    blocks: total.blocks,
    meanAge: total.allocated > 0 ? total.ages / total.allocated : 0,
    holders: holdersOf(stacks),
    callers: wanting(heaviest.frames).slice(1).filter(isOfInterest).map(shortFrame),
  };
}

function holdersOf(stacks: readonly Stack[]): Holder[] {
  const holders = new Map<string | undefined, Holder>();
  const add = (root: string | undefined, { bytes, blocks }: Amount): void => {
    const holder = holders.get(root) ?? { root, bytes: 0, blocks: 0 };
    holders.set(root, holder);
    holder.bytes += bytes;
    holder.blocks += blocks;
  };
  for (const { site } of stacks) {
    if (site.lost && site.lost.blocks > 0) add(undefined, site.lost);
    for (const held of site.roots ?? []) add(held.root, held);
  }
  return [...holders.values()].sort((a, b) => b.bytes - a.bytes);
}

/** What every program has below main says nothing. */
function isOfInterest(frame: Frame): boolean {
  return !/^(__libc_start_\w+(@.*)?|_start|start_thread|(__GI_)?_*clone3?)$/.test(frame.function);
}
