// Who allocated: the flame graph and the table of one heap, and the choice made in them.

import { CallTree, stackOf, type Totals } from '../calltree.ts';
import type { HeapModel } from '../model.ts';
import { less, type What, weigh } from '../weights.ts';
import { type Choice, choiceOf, describeChoice, isChosen, matcher, nodeOf } from './choice.ts';
import { bytes, element, percent, plural } from './elements.ts';
import { FlameGraph } from './flame.ts';
import { FunctionTable } from './functions.ts';

/** What the graphs and tables of all heaps show. */
export interface Question {
  what: What;
  unit: 'bytes' | 'blocks';
  byLine: boolean;
  letters: string;
  /** Show only by how much this heap exceeds the other. */
  difference: boolean;
}

export interface OriginEvents {
  chosen: (choice: Choice | undefined) => void;
  pointed: (event: PointerEvent, lines: string[]) => void;
}

const phrases: Record<What, string> = {
  live: 'live at the slider',
  peak: 'live at the peak',
  all: 'allocated in the whole run',
  short: 'freed at once',
  end: 'never freed',
  grown: 'more than at the mark',
};

let made = 0;

export class Origins {
  readonly element: HTMLElement;
  /** 1 for the chosen nodes of the model; undefined if nothing is chosen. */
  mask: Uint8Array | undefined;
  readonly #model: HeapModel;
  readonly #graph: FlameGraph;
  readonly #table: FunctionTable;
  readonly #said = element('p', { class: 'origin note', 'aria-live': 'polite' });
  readonly #clear = element('button', { type: 'button', hidden: '' }, 'show all');
  readonly #trees = new Map<boolean, CallTree>();
  #question: Question | undefined;
  #choice: Choice | undefined;
  #totals: Totals | undefined;
  #shown: Totals | undefined;

  constructor(model: HeapModel, on: OriginEvents) {
    this.#model = model;
    const label = `Flame graph of ${model.facts.malloc}: callers above what they called`;
    this.#graph = new FlameGraph(label, {
      chosen: (node) => on.chosen(choiceOf(this.tree, node)),
      pointed: (node, event) => on.pointed(event, node === undefined ? [] : this.#describe(node)),
    });
    this.#graph.element.id = `flame${made++}`;
    this.#table = new FunctionTable((name) => on.chosen({ function: name }));
    this.#clear.addEventListener('click', () => on.chosen(undefined));
    this.element = element(
      'section',
      { class: 'origins', 'aria-label': `Who allocated, ${model.facts.malloc}` },
      element('h3', {}, `Who allocated · ${model.facts.malloc}`),
      ...this.#lacking(),
      ...(model.facts.known === 'nothing'
        ? []
        : [
            element('div', { class: 'saying' }, this.#said, this.#clear),
            this.#graph.element,
            this.#table.element,
          ]),
    );
  }

  #lacking(): HTMLElement[] {
    const { known } = this.#model.facts;
    const say = (text: string) => [element('p', { class: 'note lacking' }, text)];
    if (known === 'nothing')
      return say('This trace has no callers. Record it with --stacks to see them.');
    if (known === 'sites')
      return say('This trace has direct callers only. Record it with --stacks for whole stacks.');
    return [];
  }

  get tree(): CallTree {
    const byLine = this.#question?.byLine ?? false;
    const tree = this.#trees.get(byLine) ?? new CallTree(this.#model, byLine);
    this.#trees.set(byLine, tree);
    return tree;
  }

  /** Computes the totals. Call it for every heap before draw(), because a difference needs both. */
  ask(question: Question, position: number, mark: number): void {
    const before = this.#question;
    this.#question = question;
    if (before?.byLine !== question.byLine) this.choose(this.#choice);
    this.#totals = this.tree.sum(weigh(this.#model, question.what, position, mark));
  }

  draw(other: Origins | undefined): void {
    const { tree } = this;
    const question = this.#question;
    if (!question || !this.#totals) return;
    this.#shown = question.difference && other ? this.#moreThan(other) : this.#totals;
    const values = this.#shown.all[question.unit];
    this.#graph.draw(tree, values, (node) => this.#describe(node).join(', '));
    this.#table.draw(tree, this.#shown, question.letters);
    this.#search(question.letters);
    this.#say(question);
  }

  /** By path: each function's own blocks, minus those of the other heap on the same path. */
  #moreThan(other: Origins): Totals {
    const totals = this.#totals as Totals;
    const match = this.tree.matchesIn(other.tree);
    const theirs = (values: Float64Array | undefined): Float64Array =>
      Float64Array.from(match, (node) => values?.[node] ?? 0);
    const there = other.#totals?.own;
    const own = less(totals.own, {
      bytes: theirs(there?.bytes),
      blocks: theirs(there?.blocks),
    });
    return { own, all: this.tree.withCallees(own) };
  }

  choose(choice: Choice | undefined): void {
    const { tree } = this;
    this.#choice = choice;
    this.mask = choice && tree.mask(isChosen(tree, choice));
    this.#clear.hidden = choice === undefined;
    const root = choice && 'path' in choice ? nodeOf(tree, choice.path) : 0;
    this.#graph.zoomTo(root ?? 0);
    if (this.#question) {
      this.#search(this.#question.letters);
      this.#say(this.#question);
    }
  }

  #search(letters: string): void {
    const matches = letters === '' ? () => false : matcher(this.tree, letters);
    const found = new Set<number>();
    for (let node = 0; node < this.tree.size; node++) if (matches(node)) found.add(node);
    this.#graph.highlight('found', found);
  }

  /** Highlights the stack that allocated a block; undefined: none. */
  light(node: number | undefined): void {
    const path = node === undefined ? [] : this.tree.pathOf(this.tree.of[node] ?? 0);
    this.#graph.highlight('lit', new Set(path));
  }

  /** The functions of a stack, innermost first, shortened. */
  stack(node: number): string[] {
    const names = stackOf(this.#model, node);
    const most = 9;
    return names.length <= most
      ? names
      : [...names.slice(0, most), `… ${names.length - most} more`];
  }

  #describe(node: number): string[] {
    const totals = this.#shown;
    if (!totals) return [];
    const whole = Math.max(1, totals.all.bytes[0] as number);
    const all = totals.all.bytes[node] as number;
    const own = totals.own.bytes[node] as number;
    const blocks = totals.all.blocks[node] as number;
    return [
      this.tree.nameOf(node),
      `${bytes(all)} (${percent(all / whole)}) in ${plural(blocks, 'block')}`,
      ...(own > 0 && own < all ? [`${bytes(own)} of it allocated by itself`] : []),
    ];
  }

  /** Says how much is chosen, or found, or, without either, shown in all. */
  #say({ what, letters, difference }: Question): void {
    const totals = this.#shown;
    if (!totals) return;
    const { tree } = this;
    const whole = totals.all.bytes[0] as number;
    const choice = this.#choice ?? (letters === '' ? undefined : { match: letters });
    const than = difference ? ', more than in the other trace' : '';
    if (!choice) {
      const blocks = plural(totals.all.blocks[0] as number, 'block');
      this.#said.textContent = `${bytes(whole)} in ${blocks} ${phrases[what]}${than}`;
      return;
    }
    const chosen = isChosen(tree, choice);
    const inside = new Uint8Array(tree.size);
    let [sum, blocks] = [0, 0];
    for (let node = 0; node < tree.size; node++) {
      inside[node] = inside[tree.parent[node] as number] === 1 || chosen(node) ? 1 : 0;
      if (inside[node] === 0) continue;
      sum += totals.own.bytes[node] as number;
      blocks += totals.own.blocks[node] as number;
    }
    const share = percent(sum / Math.max(1, whole));
    this.#said.textContent = `${describeChoice(choice)}: ${bytes(sum)} in ${plural(blocks, 'block')}, ${share} of what is ${phrases[what]}${than}`;
  }
}
