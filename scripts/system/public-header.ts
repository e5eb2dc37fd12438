// Reads libmalloc.h: its comments and declarations; and which functions of libc our mallocs replace.

/** One declaration with its comment. */
export interface HeaderItem {
  /** Its heading: `libmalloc_walk()`, `struct libmalloc_chunk`. */
  title: string;
  text: string;
  /** The declaration, verbatim. */
  declaration: string;
  /** The functions that it declares, and their prototypes, each in one line. */
  functions: string[];
  prototypes: string[];
}

function commentText(comment: string): string {
  return comment
    .replace(/^\/\*\s?/, '')
    .replace(/\s*\*\/$/, '')
    .split('\n')
    .map((line) => line.replace(/^\s*\*\s?/, ''))
    .join('\n')
    .trim();
}

function prototypesOf(declaration: string): string[] {
  const bare = declaration.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/\{[\s\S]*?\}/g, '{}');
  return bare
    .split(';')
    .map((part) => part.replaceAll(/\s+/g, ' ').trim())
    .filter((part) => /\b(libmalloc|show)_\w+\(/.test(part))
    .map((part) => `${part};`);
}

function itemOf(block: string): HeaderItem | undefined {
  const [, comment = '', declaration = ''] = /^(\/\*[\s\S]*?\*\/\n)?([\s\S]*)$/.exec(block) ?? [];
  const container = /^(struct|enum) \w+(?= \{)/.exec(declaration)?.[0];
  const prototypes = prototypesOf(declaration);
  const functions = prototypes.map((text) => /\b((?:libmalloc|show)_\w+)\(/.exec(text)?.[1] ?? '');
  if (container === undefined && functions.length === 0) return undefined;
  const title = functions.length > 0 ? functions.map((name) => `${name}()`).join(', ') : container;
  return {
    title: title ?? '',
    text: commentText(comment.trim()),
    declaration: declaration.trim(),
    functions,
    prototypes,
  };
}

/** The comment at the head of the file, and every declaration in order. */
export function readHeader(text: string): { intro: string; items: HeaderItem[] } {
  const blocks = text
    .split(/\n\s*\n/)
    .filter((block) => !/^#/.test(block.replace(/^\/\*[\s\S]*?\*\/\n/, '')));
  const intro = commentText(/^\/\*[\s\S]*?\*\//.exec(text)?.[0] ?? '').replace(/^.*\n\s*\n/, '');
  const items = blocks.map((block) => itemOf(block.trim())).filter((item) => item !== undefined);
  return { intro, items };
}

/** The names that native/abi.h exports: the malloc functions, and second names for them. */
export function replacedFunctions(abi: string): string[] {
  const names = [...abi.matchAll(/\bEXPORT\b[^;{]*?\b(\w+)\([^;{]*\{/g)].map((match) => match[1]);
  const seconds = [...abi.matchAll(/^SECOND_NAME\((\w+),/gm)].map((match) => match[1]);
  return [...new Set([...names, ...seconds])] as string[];
}
