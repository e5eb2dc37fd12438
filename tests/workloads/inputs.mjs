/**
 * What the real programs of workloads.json read, generated: the same bytes for the same words.
 *
 *     node inputs.mjs KIND AMOUNT PATH
 *
 * Plain JavaScript, so that node runs it without a build: bench and tests start it as a program.
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';

let seed = 1;

/** A number from 0 to below - 1. */
function draw(below) {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.floor((seed / 2 ** 32) * below);
}

const syllables = 'ba ne ti ro ku la mi so re du fa lo gi ve ta po nu si'.split(' ');

/** Few words are frequent and most are rare, as in any language. */
function word() {
  const rank = Math.floor(20000 ** (draw(10000) / 10000));
  let text = '';
  for (let rest = rank; rest > 0; rest = Math.floor(rest / syllables.length))
    text += syllables[rest % syllables.length];
  return text;
}

const many = (count, make) => Array.from({ length: count }, (_, i) => make(i));
const sentence = (count) => many(count, word).join(' ');

/** Lines of words, for grep, sort, awk and perl. */
function text(lines) {
  return many(lines, () => `${sentence(4 + draw(12))}\n`).join('');
}

/** A document of so many items, three levels deep, with attributes. */
function xml(items) {
  const tag = () => `<tag kind="${word()}">${word()}</tag>`;
  const item = (i) =>
    `  <item id="i${i}" price="${draw(1000)}">\n    <name>${sentence(3)}</name>\n` +
    `    ${many(draw(5), tag).join('')}\n    <p>${sentence(draw(20))} <b>${word()}</b></p>\n  </item>\n`;
  return `<?xml version="1.0"?>\n<items>\n${many(items, item).join('')}</items>\n`;
}

/** A C file of so many functions that call each other, for the compilers. */
function c(functions) {
  const body = (i) =>
    many(6, (k) => {
      const call = i > 0 ? `f${draw(i)}(x + ${k})` : 'x';
      return `    if (x % ${2 + draw(9)} == ${k}) a[x & 15] += ${call} * ${draw(100)}; else a[${k}] ^= x;\n`;
    }).join('');
  const make = (i) =>
    `int f${i}(int x)\n{\n    int a[16] = {${draw(9)}};\n    for (int i = 0; i < 16; i++) a[i] += i * x;\n${body(i)}` +
    '    return a[x & 15] + a[3];\n}\n';
  return many(functions, make).join('\n');
}

/** As many pigeons as holes and one more: a proof by search, in SMT-LIB. */
function pigeons(holes) {
  const name = (p, h) => `p${p}h${h}`;
  const all = many(holes + 1, (p) => many(holes, (h) => name(p, h)));
  const somewhere = all.map((row) => `(assert (or ${row.join(' ')}))`);
  const alone = many(holes, (h) =>
    many(holes + 1, (p) =>
      many(p, (q) => `(assert (or (not ${name(p, h)}) (not ${name(q, h)})))`),
    ).flat(),
  ).flat();
  const declared = all.flat().map((each) => `(declare-const ${each} Bool)`);
  return `${[...declared, ...somewhere, ...alone, '(check-sat)'].join('\n')}\n`;
}

/** The commands of `git fast-import` for a history: each commit edits some of 40 files. */
function history(commits) {
  const files = many(40, () => many(60, () => sentence(6)));
  const commit = (i) => {
    const message = `Change ${i}\n\n${sentence(20)}\n`;
    const edits = many(1 + draw(4), () => {
      const f = draw(files.length);
      files[f][draw(60)] = sentence(6);
      if (draw(10) === 0) files[f].push(sentence(6));
      const data = `${files[f].join('\n')}\n`;
      return `M 100644 inline src/${f % 5}/file${f}.txt\ndata ${data.length}\n${data}`;
    });
    return (
      `commit refs/heads/main\ncommitter A U Thor <a@example.org> ${1e9 + i * 3600} +0000\n` +
      `data ${message.length}\n${message}${edits.join('')}\n`
    );
  };
  return many(commits, commit).join('');
}

/** Makes a bare repository of that history. */
function repository(commits, path) {
  const git = (args, input) => {
    const { status, stderr } = spawnSync('git', args, { input, maxBuffer: 1 << 30 });
    if (status !== 0) throw new Error(`git ${args[0]}: ${stderr}`);
  };
  git(['init', '--quiet', '--bare', '--initial-branch=main', path]);
  git(['-C', path, 'fast-import', '--quiet'], history(commits));
}

const texts = { text, xml, c, pigeons };
const [kind, amount, path] = process.argv.slice(2);
if (kind === 'repository') repository(Number(amount), path);
else if (kind in texts && path) writeFileSync(path, texts[kind](Number(amount)));
else throw new Error(`inputs.mjs KIND AMOUNT PATH; kinds: ${Object.keys(texts)}, repository`);
