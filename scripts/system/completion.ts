// Generates command line completion for bash, zsh and fish from the options of every verb. It is our
// own, because packages such as omelette and tabtab start Node for each TAB.

import type { VerbHelp, VerbOption } from './verb-help.ts';

/** The words that a value can be; empty if it is the name of a file. */
function words(option: VerbOption, mallocs: string[]): string[] {
  if (option.names.includes('--malloc')) return mallocs;
  return option.choices;
}

/** `'it'\''s'`. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** Verbs whose last argument is a command line. */
const takesCommand = (verb: VerbHelp): boolean => /\bcmd\b/i.test(verb.usage);

/** The branch of bash's `case` for a verb. */
function bashCase(verb: VerbHelp, mallocs: string[]): string {
  const flags = [...verb.options.flatMap(({ names }) => names), '-h', '--help'].join(' ');
  const values = verb.options
    .filter(({ value }) => value !== undefined)
    .map((option) => {
      const list = words(option, mallocs);
      const reply =
        list.length > 0
          ? `words='${list.join(' ')}' files=${list === mallocs ? 1 : ''}`
          : 'files=1';
      return `        ${option.names.join('|')}) ${reply} ;;`;
    });
  return [
    `    ${verb.name})`,
    `      flags='${flags}' command=${takesCommand(verb) ? 1 : ''}`,
    '      case $before in',
    ...values,
    '        *) words=$flags files=1 ;;',
    '      esac ;;',
  ].join('\n');
}

/** The function for bash; after `--` it completes the program's own arguments. */
export function bashCompletion(verbs: VerbHelp[], mallocs: string[]): string {
  return `# bash completion for libmalloc, generated from its options
_libmalloc() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} verb=\${COMP_WORDS[1]}
  local words= files= flags= command= i
  COMPREPLY=()
  if [ "$COMP_CWORD" = 1 ]; then
    COMPREPLY=($(compgen -W '${verbs.map(({ name }) => name).join(' ')} help --help --version' -- "$word"))
    return
  fi
  case $verb in
    help) words='${verbs.map(({ name }) => name).join(' ')}' ;;
${verbs.map((verb) => bashCase(verb, mallocs)).join('\n')}
    *) return ;;
  esac
  for ((i = 2; i < COMP_CWORD; i++)); do
    [ "\${COMP_WORDS[i]}" = -- ] && [ -n "$command" ] || continue
    if declare -F _command_offset >/dev/null; then _command_offset $((i + 1))
    elif [ "$i" = $((COMP_CWORD - 1)) ]; then COMPREPLY=($(compgen -c -- "$word"))
    else COMPREPLY=($(compgen -f -- "$word")); fi
    return
  done
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  [ -z "$files" ] || COMPREPLY+=($(compgen -f -- "$word"))
}
complete -o filenames -o bashdefault -F _libmalloc libmalloc
`;
}

/** Escapes a description for zsh's _arguments, which wants it between brackets. */
const zshText = (text: string): string =>
  text.replaceAll('\\', '\\\\').replaceAll(/[[\]]/g, '\\$&').replaceAll(':', '\\:');

function zshOption(option: VerbOption, mallocs: string[]): string {
  const { names, value, description } = option;
  const list = words(option, mallocs);
  const action =
    list === mallocs ? '_libmalloc_mallocs' : list.length > 0 ? `(${list.join(' ')})` : '_files';
  const takes = value === undefined ? '' : `:${zshText(value)}:${action}`;
  const spec = (name: string): string => quoted(`*${name}[${zshText(description)}]${takes}`);
  return names.map((name) => `        ${spec(name)} \\`).join('\n');
}

function zshCase(verb: VerbHelp, mallocs: string[]): string {
  const rest = takesCommand(verb) ? "'*:::command:_normal'" : "'*:file:_files'";
  return [
    `      ${verb.name})`,
    "        _arguments -S '(-h --help)'{-h,--help}'[explain]' \\",
    ...verb.options.map((option) => zshOption(option, mallocs)),
    `          ${rest} ;;`,
  ].join('\n');
}

/** The function for zsh, for a file `_libmalloc` in a folder of `fpath`. */
export function zshCompletion(verbs: VerbHelp[], mallocs: string[]): string {
  const described = verbs.map(({ name, summary }) => quoted(`${name}:${summary}`));
  return `#compdef libmalloc
# zsh completion for libmalloc, generated from its options
_libmalloc_mallocs() {
  _alternative 'mallocs:malloc:(${mallocs.join(' ')})' 'files:file:_files'
}
_libmalloc() {
  local curcontext=$curcontext state line
  local -a verbs
  verbs=(
    ${described.join('\n    ')}
  )
  _arguments -C '--version[output the version number]' '(-h --help)'{-h,--help}'[explain]' \\
    '1:verb:->verb' '*::argument:->argument'
  case $state in
    verb) _describe verb verbs ;;
    argument) case $words[1] in
${verbs.map((verb) => zshCase(verb, mallocs)).join('\n')}
    esac ;;
  esac
}
_libmalloc "$@"
`;
}

function fishOption(verb: VerbHelp, option: VerbOption, mallocs: string[]): string {
  const list = words(option, mallocs);
  const names = option.names.map((name) =>
    name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
  );
  const value =
    option.value === undefined ? '' : list.length > 0 && list !== mallocs ? ' -x' : ' -r';
  const choices = list.length > 0 ? ` -a ${quoted(list.join(' '))}` : '';
  const seen = `-n '__fish_seen_subcommand_from ${verb.name}'`;
  return `complete -c libmalloc ${seen} ${names.join(' ')}${value}${choices} -d ${quoted(option.description)}`;
}

/** The commands for fish. */
export function fishCompletion(verbs: VerbHelp[], mallocs: string[]): string {
  const lines = verbs.flatMap((verb) => [
    `complete -c libmalloc -n __fish_use_subcommand -f -a ${verb.name} -d ${quoted(verb.summary)}`,
    ...verb.options.map((option) => fishOption(verb, option, mallocs)),
    ...(takesCommand(verb)
      ? [
          `complete -c libmalloc -n '__fish_seen_subcommand_from ${verb.name}' -a '(__fish_complete_subcommand --fcs-skip=2)'`,
        ]
      : []),
  ]);
  return `# fish completion for libmalloc, generated from its options\n${lines.join('\n')}\n`;
}
