// The table of functions that allocate, the one with most bytes first.

import type { CallTree, Totals } from '../calltree.ts';
import { bytes, count, duration, element, percent } from './elements.ts';

const MOST_ROWS = 60;

interface Row {
  name: string;
  /** Bytes of the blocks that it allocated itself; `all`: with those of its callees. */
  own: number;
  blocks: number;
  all: number;
  /** Mean life of its own blocks that ended, in nanoseconds; undefined if none did. */
  life: number | undefined;
}

type SortKey = 'own' | 'blocks' | 'all' | 'life';

export class FunctionTable {
  readonly element: HTMLElement;
  readonly #body = element('tbody');
  readonly #more = element('p', { class: 'note' });
  readonly #chosen: (name: string) => void;
  #rows: Row[] = [];
  #whole = 1;
  #letters = '';
  #sort: SortKey = 'own';

  constructor(chosen: (name: string) => void) {
    this.#chosen = chosen;
    const head = (key: SortKey | undefined, label: string, title: string): HTMLElement => {
      const cell = element('th', { scope: 'col', title });
      if (key === undefined) {
        cell.append(label);
        return cell;
      }
      const button = element('button', { type: 'button' }, label);
      button.addEventListener('click', () => this.#sortBy(key));
      cell.dataset.key = key;
      cell.append(button);
      return cell;
    };
    const heads = [
      head(undefined, 'function', 'the function that allocated the blocks'),
      head('own', 'bytes', 'in blocks that it allocated itself'),
      head(undefined, 'share', 'of all bytes'),
      head('blocks', 'blocks', 'that it allocated itself'),
      head('all', 'with callees', 'bytes, including those that its callees allocated'),
      head('life', 'mean life', 'of its own blocks that ended, over the whole trace'),
    ];
    const table = element(
      'table',
      { class: 'functions' },
      element('thead', {}, element('tr', {}, ...heads)),
      this.#body,
    );
    this.element = element('div', { class: 'scrolled' }, table, this.#more);
    this.#markSorted();
  }

  #sortBy(key: SortKey): void {
    this.#sort = key;
    this.#markSorted();
    this.#fill();
  }

  #markSorted(): void {
    for (const cell of this.element.querySelectorAll<HTMLElement>('th[data-key]')) {
      if (cell.dataset.key === this.#sort) cell.setAttribute('aria-sort', 'descending');
      else cell.removeAttribute('aria-sort');
    }
  }

  /** Shows the functions of a tree whose names contain these letters. */
  draw(tree: CallTree, totals: Totals, letters: string): void {
    const { ended, life } = tree.lives();
    const rows = tree.functions.map(({ name, place }, i): Row => {
      const called = place === '' ? name : `${name} (${place})`;
      const lived = (ended[i] as number) > 0 ? life[i] : undefined;
      return { name: called, own: 0, blocks: 0, all: 0, life: lived };
    });
    for (let node = 0; node < tree.size; node++) {
      const row = rows[node === 0 ? 1 : (tree.function[node] as number)] as Row;
      row.own += totals.own.bytes[node] as number;
      row.blocks += totals.own.blocks[node] as number;
      if (node > 0 && tree.outermost[node] === 1) row.all += totals.all.bytes[node] as number;
    }
    this.#rows = rows.slice(1).filter(({ own, blocks, all }) => own > 0 || blocks > 0 || all > 0);
    this.#whole = Math.max(1, totals.all.bytes[0] as number);
    this.#letters = letters.toLowerCase();
    this.#fill();
  }

  #fill(): void {
    const key = this.#sort;
    const found = this.#rows
      .filter(({ name }) => name.toLowerCase().includes(this.#letters))
      .sort((a, b) => (b[key] ?? -1) - (a[key] ?? -1) || b.all - a.all);
    this.#body.replaceChildren(...found.slice(0, MOST_ROWS).map((row) => this.#row(row)));
    const left = found.length - MOST_ROWS;
    this.#more.textContent =
      left > 0 ? `and ${count(left)} more` : found.length === 0 ? 'nothing' : '';
  }

  #row({ name, own, blocks, all, life }: Row): HTMLElement {
    const button = element('button', { type: 'button', title: name }, name);
    button.addEventListener('click', () => this.#chosen(name));
    const number = (value: number, text: string): HTMLElement =>
      element('td', { 'data-value': String(value) }, text);
    const share = own / this.#whole;
    const bar = element('div', { class: 'bar', style: `width:${(100 * share).toFixed(2)}%` });
    return element(
      'tr',
      {},
      element('th', { scope: 'row' }, button),
      number(own, own > 0 ? bytes(own) : '–'),
      element('td', { class: 'share' }, own > 0 ? percent(share) : '–', bar),
      number(blocks, blocks > 0 ? count(blocks) : '–'),
      number(all, bytes(all)),
      element('td', {}, life === undefined ? '–' : duration(life)),
    );
  }
}
