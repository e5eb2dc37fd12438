// A flame graph with callers above callees; the width of a box is its share. It is our own, because
// d3-flame-graph has no keyboard control and no roles for screen readers, and needs d3 in the page.

import type { CallTree } from '../calltree.ts';
import { element } from './elements.ts';

const ROW = 19; // pixels
const LEAST = 2; // pixels; narrower boxes are not drawn
const LABELLED = 26; // pixels; narrower boxes have no label

/** The events of the graph; nodes are those of its tree. */
export interface FlameEvents {
  chosen: (node: number) => void;
  pointed: (node: number | undefined, event: PointerEvent) => void;
}

export class FlameGraph {
  readonly element: HTMLElement;
  readonly #on: FlameEvents;
  readonly #boxes = new Map<number, HTMLElement>();
  #tree: CallTree | undefined;
  #values: Float64Array = new Float64Array();
  /** The node that is as wide as the graph; its callers have the same width. */
  #root = 0;
  /** The node with the keyboard focus. */
  #focus = 0;
  #describe: (node: number) => string = () => '';

  constructor(label: string, on: FlameEvents) {
    this.#on = on;
    this.element = element('div', {
      class: 'flame',
      tabindex: '0',
      role: 'tree',
      'aria-label': label,
    });
    this.#listen();
  }

  /** The node that a click made as wide as the graph. */
  get root(): number {
    return this.#root;
  }

  /** Draws the tree with a value for each node; `describe` gives the words for screen readers. */
  draw(tree: CallTree, values: Float64Array, describe: (node: number) => string): void {
    if (this.#tree !== tree) {
      this.#tree = tree;
      this.#root = 0;
      this.#focus = 0;
      this.#boxes.clear();
      this.element.replaceChildren();
    }
    this.#values = values;
    this.#describe = describe;
    this.#layOut();
  }

  zoomTo(node: number): void {
    this.#root = node;
    this.#focus = node;
    this.#layOut();
  }

  #layOut(): void {
    const tree = this.#tree;
    const width = this.element.clientWidth;
    if (!tree || width === 0) return;
    const seen = new Set<number>();
    const whole = this.#values[this.#root] ?? 0;
    let deepest = 0;
    const place = (node: number, x: number, share: number): void => {
      if (share * width < LEAST) return;
      const depth = tree.depth[node] as number;
      deepest = Math.max(deepest, depth);
      seen.add(node);
      this.#box(tree, node, x, share, share * width);
      let at = x;
      for (const child of tree.children[node] as number[]) {
        const part = (this.#values[child] ?? 0) / whole;
        place(child, at, part);
        at += part;
      }
    };
    for (const node of [0, ...tree.pathOf(this.#root)].slice(0, this.#root === 0 ? 0 : -1)) {
      seen.add(node);
      this.#box(tree, node, 0, 1, width).classList.add('above');
    }
    if (whole > 0) place(this.#root, 0, 1);
    for (const [node, box] of this.#boxes) {
      if (seen.has(node)) continue;
      box.remove();
      this.#boxes.delete(node);
    }
    this.element.style.setProperty('--rows', String(deepest + 1));
    this.element.classList.toggle('empty', whole === 0);
  }

  #box(tree: CallTree, node: number, x: number, share: number, pixels: number): HTMLElement {
    const box = this.#boxes.get(node) ?? this.#made(tree, node);
    const { style } = box;
    style.left = `${(100 * x).toFixed(4)}%`;
    style.width = `${(100 * share).toFixed(4)}%`;
    box.classList.remove('above');
    box.textContent = pixels < LABELLED ? '' : tree.functionAt(node).name;
    box.setAttribute('aria-label', this.#describe(node));
    return box;
  }

  #made(tree: CallTree, node: number): HTMLElement {
    const level = tree.depth[node] as number;
    const box = element('div', { class: 'box', role: 'treeitem', 'aria-level': String(level + 1) });
    box.dataset.node = String(node);
    box.id = `${this.element.id}-${node}`;
    box.style.top = `${level * ROW}px`;
    box.style.setProperty('--hue', String(hueOf(tree.functionAt(node).name)));
    this.#boxes.set(node, box);
    this.element.append(box);
    return box;
  }

  /** Sets a class on the boxes of these nodes, and removes it from all others. */
  highlight(name: 'lit' | 'found', nodes: ReadonlySet<number>): void {
    this.element.classList.toggle(`has-${name}`, nodes.size > 0);
    for (const [node, box] of this.#boxes) box.classList.toggle(name, nodes.has(node));
  }

  #listen(): void {
    const nodeAt = (event: Event): number | undefined => {
      const node = (event.target as HTMLElement).dataset.node;
      return node === undefined ? undefined : Number(node);
    };
    this.element.addEventListener('click', (event) => {
      const node = nodeAt(event);
      if (node !== undefined) this.#on.chosen(node);
    });
    this.element.addEventListener('pointermove', (event) => this.#on.pointed(nodeAt(event), event));
    this.element.addEventListener('pointerleave', (event) => this.#on.pointed(undefined, event));
    this.element.addEventListener('keydown', (event) => {
      if (!this.#key(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  /** Up moves to the caller, down to the widest callee, left and right to siblings; Enter chooses. */
  #key(key: string): boolean {
    const tree = this.#tree;
    if (!tree) return false;
    const shown = (list: readonly number[]) => list.filter((node) => this.#boxes.has(node));
    const at = this.#focus;
    const siblings = at === 0 ? [0] : shown(tree.children[tree.parent[at] as number] ?? []);
    const beside = (step: number): number => siblings[siblings.indexOf(at) + step] ?? at;
    const widest = (list: readonly number[]): number =>
      list.reduce(
        (a, b) => ((this.#values[b] ?? 0) > (this.#values[a] ?? 0) ? b : a),
        list[0] ?? at,
      );
    const moves: Record<string, () => number> = {
      ArrowUp: () => tree.parent[at] as number,
      ArrowDown: () => widest(shown(tree.children[at] ?? [])),
      ArrowLeft: () => beside(-1),
      ArrowRight: () => beside(1),
      Home: () => 0,
    };
    if (key === 'Enter') this.#on.chosen(at);
    else if (key === 'Escape') this.#on.chosen(0);
    else if (key in moves) this.#focus = moves[key]?.() ?? at;
    else return false;
    for (const [node, box] of this.#boxes) box.classList.toggle('focus', node === this.#focus);
    this.element.setAttribute('aria-activedescendant', `${this.element.id}-${this.#focus}`);
    this.#boxes.get(this.#focus)?.scrollIntoView({ block: 'nearest' });
    return true;
  }
}

/** A warm colour, the same for a function wherever it is called. */
function hueOf(name: string): number {
  let hash = 0;
  for (let i = 0; i < name.length; i++) hash = (Math.imul(hash, 31) + name.charCodeAt(i)) | 0;
  return Math.abs(hash) % 56;
}
