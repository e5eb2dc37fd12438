// Generates man pages: libmalloc(1), one for each verb, and libmalloc(3), from the same sources as
// --help, docs/reference.md and the header. We write the roff, because help2man reads only --help.

import { statuses } from '../lib/status.ts';
import { options } from '../malloc/options.ts';
import { debugKeys, variables } from '../malloc/variables.ts';
import type { HeaderItem } from './public-header.ts';
import type { VerbHelp, VerbOption } from './verb-help.ts';

/** Version and date, which appear in the header and footer of every page. */
export interface Edition {
  version: string;
  /** `2026-11-29` */
  date: string;
}

/** Escapes text for roff: no line may look like a request, and hyphens stay hyphens when copied. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('…', '...')
    .replaceAll(/^([.'])/gm, '\\&$1');
}

const bold = (text: string): string => `\\fB${roff(text)}\\fP`;

/** Sets in italics what Markdown sets as code. */
const emphasized = (text: string): string => text.replaceAll(/`([^`]+)`/g, '\\fI$1\\fP');

/** Fills paragraphs; keeps the line breaks of two-column lists and examples in `--help`. */
function prose(text: string): string {
  return text
    .trim()
    .split(/\n\s*\n/)
    .map((part) => {
      const lines = part.split('\n');
      const columns = lines.length > 1 && lines.slice(1).every((line) => /^\s{2}/.test(line));
      return columns || /^\s/.test(part)
        ? `.nf\n${roff(part)}\n.fi`
        : emphasized(roff(lines.map((line) => line.trim()).join(' ')));
    })
    .join('\n.PP\n');
}

function page(name: string, section: 1 | 3, edition: Edition, body: string[]): string {
  const title = `.TH ${name.toUpperCase()} ${section} ${edition.date} "libmalloc ${edition.version}"`;
  return `${[title, ...body].join('\n')}\n`;
}

function optionLines({ flags, description, choices, otherwise }: VerbOption): string {
  const more = [
    choices.length > 0 ? `one of ${choices.join(', ')}` : '',
    otherwise === undefined ? '' : `default: ${otherwise}`,
  ].filter((part) => part !== '');
  const tail = more.length > 0 ? ` (${more.join('; ')})` : '';
  return `.TP\n${bold(flags)}\n${roff(description + tail)}`;
}

const exitStatus = /^Exit status(?: of a batch)?:/m;

/** The notes of a verb; the exit status gets its own heading. */
function notes(text: string): string[] {
  const at = text.search(exitStatus);
  if (at < 0) return text === '' ? [] : ['.SH NOTES', prose(text)];
  const before = text.slice(0, at).trim();
  const status = text.slice(at).replace(exitStatus, '').trim();
  const sentence = status.charAt(0).toUpperCase() + status.slice(1);
  return [
    ...(before === '' ? [] : ['.SH NOTES', prose(before)]),
    '.SH EXIT STATUS',
    prose(sentence),
  ];
}

/** libmalloc-VERB(1). */
export function verbPage(verb: VerbHelp, edition: Edition): string {
  const described = verb.arguments.filter(({ description }) => description !== '');
  return page(`libmalloc-${verb.name}`, 1, edition, [
    '.SH NAME',
    `libmalloc\\-${verb.name} \\- ${roff(verb.summary)}`,
    '.SH SYNOPSIS',
    `.B libmalloc ${verb.name}`,
    roff(verb.usage),
    '.SH DESCRIPTION',
    prose(verb.description),
    ...described.map(({ name, description }) => `.TP\n.I ${roff(name)}\n${roff(description)}`),
    '.SH OPTIONS',
    ...verb.options.map(optionLines),
    `.TP\n${bold('-h, --help')}\n${roff('show a short form of this page')}`,
    ...notes(verb.notes),
    '.SH SEE ALSO',
    '.BR libmalloc (1),',
    '.BR libmalloc (3)',
  ]);
}

const table = (rows: [name: string, meaning: string][]): string[] =>
  rows.map(([name, meaning]) => `.TP\n${bold(name)}\n${roff(meaning.replaceAll('`', ''))}`);

/** libmalloc(1). */
export function commandPage(verbs: VerbHelp[], description: string, edition: Edition): string {
  const keys = [...Object.entries(options), ...Object.entries(debugKeys)];
  return page('libmalloc', 1, edition, [
    '.SH NAME',
    'libmalloc \\- run, debug, test and measure any malloc',
    '.SH SYNOPSIS',
    '.B libmalloc',
    '.I VERB',
    '[options] ...',
    '.SH DESCRIPTION',
    prose(description),
    '.PP',
    roff(
      'The option -m chooses the malloc: the name of one of ours, glibc, an installed peer (jemalloc, tcmalloc, mimalloc, scudo), the path of any FILE.so, or NAME=FILE.so.',
    ),
    '.SH VERBS',
    ...verbs.map(({ name, summary }) => `.TP\n.BR libmalloc\\-${name} (1)\n${roff(summary)}`),
    '.SH ENVIRONMENT',
    ...table(
      Object.entries(variables).map(([name, { value, meaning }]) => [`${name}=${value}`, meaning]),
    ),
    '.PP',
    'Keys of LIBMALLOC_OPTIONS, and of LIBMALLOC_DEBUG for debug builds:',
    ...table(
      keys.map(([key, { value, meaning, otherwise }]) => [
        `${key}=${value}`,
        `${meaning} (default: ${otherwise})`,
      ]),
    ),
    '.SH EXIT STATUS',
    ...table(Object.entries(statuses)),
    '.SH EXAMPLES',
    '.TP',
    bold('libmalloc run -m list -- ls -l'),
    'runs ls on the malloc named list, and proves that ls used it',
    '.TP',
    bold('LD_PRELOAD=libmalloc.so.0 ls -l'),
    'runs ls on the default malloc without this command, if the library is installed',
    '.SH SEE ALSO',
    '.BR libmalloc (3),',
    '.BR malloc (3),',
    '.BR ld.so (8)',
  ]);
}

/** libmalloc(3): the header, item by item. `replaced`: the functions of libc that we define. */
export function libraryPage(
  intro: string,
  items: HeaderItem[],
  replaced: string[],
  edition: Edition,
): string {
  const code = (text: string): string => `.nf\n${roff(text)}\n.fi`;
  const functions = items.flatMap((item) => item.functions);
  return page('libmalloc', 3, edition, [
    '.SH NAME',
    `${['libmalloc', ...functions].join(', ')} \\- a heap that can be walked, checked and counted`,
    '.SH SYNOPSIS',
    '.nf',
    '.B #include <libmalloc.h>',
    '.PP',
    ...items.flatMap(({ prototypes }) => prototypes.map(bold)),
    '.fi',
    '.PP',
    'Link with \\fI\\-lmalloc\\fP, or run any program with LD_PRELOAD=libmalloc.so.0.',
    '.SH DESCRIPTION',
    prose(intro),
    ...items.flatMap(({ title, text, declaration }) => [
      `.SS ${roff(title)}`,
      ...(text === '' ? [] : [prose(text), '.PP']),
      code(declaration),
    ]),
    '.SS Replaced functions',
    'The library also defines these functions, which replace those of the C library:',
    '.PP',
    `${roff(replaced.join(', '))}.`,
    '.PP',
    "Debug builds define C++'s operators new and delete, and dlclose, too.",
    '.SH SEE ALSO',
    '.BR libmalloc (1),',
    '.BR malloc (3),',
    '.BR mallinfo (3)',
  ]);
}
