// One heap on the page: numbers, time line, map, details of a block, who allocated, histograms.

import { chunkKinds } from '../../malloc/chunk-kinds.ts';
import { describe } from '../calltree.ts';
import { NEVER } from '../data.ts';
import { fragmentation, type HeapModel } from '../model.ts';
import { histogram } from './bins.ts';
import type { Choice } from './choice.ts';
import { type ColorBy, legendOf } from './colors.ts';
import { bytes, count, duration, element, hex, percent, plural } from './elements.ts';
import { HeapMap, type View } from './map.ts';
import { Origins } from './origins.ts';
import { css, type Palette, type Rgb } from './palette.ts';
import { Timeline } from './timeline.ts';
import { wrongFrees } from './wrong-frees.ts';

/** The events of a panel. */
export interface PanelEvents {
  seek: (stop: number) => void;
  changed: () => void;
  /** The reader moved the map; undefined: show the whole heap. */
  moved: (view: View | undefined) => void;
  chosen: (choice: Choice | undefined) => void;
  /** Lines to show beside the pointer. */
  pointed: (event: PointerEvent, lines: readonly string[]) => void;
}

export class Panel {
  readonly element: HTMLElement;
  readonly model: HeapModel;
  readonly map: HeapMap;
  readonly timeline: Timeline;
  readonly origins: Origins;
  readonly #numbers = new Map<string, HTMLElement>();
  readonly #detail = element('p', { class: 'detail note', 'aria-live': 'polite' });
  readonly #window = element('p', { class: 'note window' });
  readonly #legend = element('p', { class: 'legend', 'aria-label': 'Legend' });
  readonly #on: PanelEvents;
  #pointed: number | undefined;
  #stop = 0;
  #by: ColorBy = 'state';
  #walk = false;

  /** `others`: the list of processes that the reader can open here, if there are several. */
  constructor(model: HeapModel, on: PanelEvents, others: HTMLElement | undefined) {
    this.model = model;
    this.#on = on;
    const { malloc, command } = model.facts;
    const map = element('canvas', {
      class: 'map',
      tabindex: '0',
      role: 'application',
      'aria-label': `Heap map of ${malloc}: arrows go from block to block, plus and minus zoom`,
    });
    const events = { seek: on.seek, pointed: on.pointed };
    this.timeline = new Timeline(model, events);
    this.map = new HeapMap(
      model,
      map,
      {
        pointed: (place, event) => this.#point(place, event),
        changed: on.changed,
        moved: on.moved,
      },
      () => this.position,
    );
    this.origins = new Origins(model, { chosen: on.chosen, pointed: on.pointed });
    const title = element('h2', { title: command }, `${malloc} `, element('span', {}, command));
    this.element = element(
      'article',
      { class: model.facts.moments ? 'panel profile' : 'panel', 'aria-label': malloc },
      element('div', { class: 'head' }, title, ...this.#remarks(), ...(others ? [others] : [])),
      this.#numberList(),
      element(
        'section',
        { class: 'memory', 'aria-label': `Heap map, ${malloc}` },
        element('h3', {}, `Heap map · ${malloc}`),
        this.#tools(),
        map,
        this.#legend,
        this.#window,
        this.#detail,
      ),
      this.origins.element,
      this.#histograms(),
    );
  }

  get position(): number {
    return this.model.positionOf(this.#stop);
  }

  #remarks(): HTMLElement[] {
    const { damage, remarks, blurred, density, every, strays, overlaps } = this.model.facts;
    const lines = [...damage];
    if (strays > 0) lines.push(`${count(strays)} frees of pointers to no live block`);
    if (overlaps > 0) lines.push(`${count(overlaps)} blocks handed out while they were live`);
    const marked = lines.map((line) => element('p', { class: 'damage' }, line));
    const notes = [...(this.model.facts.notes ?? [])];
    if (every > 1)
      notes.push(
        `The page shows the exact state after every ${count(every)} calls, without blocks that lived only between two of these moments.`,
      );
    if (blurred > 0)
      notes.push(
        `For ${count(blurred)} small blocks the map shows only their live bytes in each ${bytes(density.cell)}, at ${density.frames.length} moments.`,
      );
    const all: HTMLElement[] = [
      ...marked,
      ...wrongFrees(this.model),
      ...notes.map((line) => element('p', { class: 'note' }, line)),
    ];
    if (remarks.length > 0)
      all.push(
        element(
          'details',
          { class: 'note nameless' },
          element('summary', {}, `${plural(remarks.length, 'file')} without function names`),
          ...remarks.map((line) => element('p', {}, line)),
        ),
      );
    return all;
  }

  #numberList(): HTMLElement {
    const list = element('dl');
    const names = {
      time: 'time',
      event: 'calls so far',
      bytes: 'live bytes',
      blocks: 'live blocks',
      resident: 'resident memory',
      fragmentation: 'resident, not live',
      peak: 'peak live bytes',
      events: 'all calls',
    };
    const unknown = this.model.facts.moments
      ? ['event', 'resident', 'fragmentation', 'events']
      : [];
    for (const [name, label] of Object.entries(names)) {
      if (unknown.includes(name)) continue;
      const value = element('dd', { 'data-name': name }, '');
      this.#numbers.set(name, value);
      list.append(element('div', {}, element('dt', {}, label), value));
    }
    this.#set('peak', this.model.facts.peakBytes, bytes(this.model.facts.peakBytes));
    this.#set('events', this.model.facts.events, count(this.model.facts.events));
    return list;
  }

  #set(name: string, value: number | undefined, text: string): void {
    const target = this.#numbers.get(name);
    if (!target) return;
    target.textContent = text;
    target.dataset.value = value === undefined ? '' : String(value);
  }

  #tools(): HTMLElement {
    const button = (label: string, text: string, act: () => void) => {
      const made = element('button', { type: 'button', 'aria-label': label }, text);
      made.addEventListener('click', act);
      return made;
    };
    return element(
      'div',
      { class: 'tools' },
      button('zoom in', '+', () => this.map.zoom(true)),
      button('zoom out', '−', () => this.map.zoom(false)),
      button('show the whole heap', 'all', () => this.#on.moved(undefined)),
      button('scroll up', '↑', () => this.map.scroll(-this.map.page)),
      button('scroll down', '↓', () => this.map.scroll(this.map.page)),
    );
  }

  #histograms(): HTMLElement {
    const { sizes, lifetimes } = this.model.facts;
    return element(
      'details',
      { class: 'histograms' },
      element('summary', {}, 'Sizes and lifetimes'),
      histogram('Blocks by size', sizes, bytes),
      histogram('Blocks by lifetime (those that ended)', lifetimes, duration),
    );
  }

  /** Call when colours or sizes may have changed. */
  prepare(palette: Palette, fullHeight: number): void {
    this.timeline.prepare(palette, fullHeight);
    this.showLegend(palette);
  }

  showLegend(palette: Palette): void {
    const { mask } = this.origins;
    const legend = legendOf(this.model, this.#by, this.#walk, palette, mask !== undefined);
    this.#legend.replaceChildren(...legendItems(legend));
  }

  choose(by: ColorBy, walk: boolean): void {
    this.#by = by;
    this.#walk = walk && this.model.walks > 0;
  }

  show(stop: number): void {
    this.#stop = stop;
    const { time, bytes: live, blocks, resident } = this.model.stops;
    const at = (column: Float64Array): number => column[stop] ?? 0;
    this.#set('time', at(time), duration(at(time)));
    this.#set('event', this.position, count(this.position));
    this.#set('bytes', at(live), bytes(at(live)));
    this.#set('blocks', at(blocks), count(at(blocks)));
    const known = at(resident) > 0;
    this.#set('resident', at(resident), known ? bytes(at(resident)) : 'not recorded');
    const share = fragmentation(at(live), at(resident));
    this.#set('fragmentation', share, share === undefined ? '-' : percent(share));
    this.#describe();
  }

  /** `mark`: the marked stop; `chosen`: the live bytes of chosen blocks at each stop. */
  draw(palette: Palette, mark: number | undefined, chosen: Float64Array | undefined): void {
    this.timeline.draw({ stop: this.#stop, mark, chosen }, palette);
    const { mask } = this.origins;
    const look = { position: this.position, by: this.#by, walk: this.#walk, mask };
    this.map.draw(look, palette);
    const walk = this.#walk ? this.model.walkAt(this.position) : undefined;
    const asOf = walk ? `; the malloc’s own view, as of call ${count(walk.at)}` : '';
    this.#window.textContent = this.map.describe() + asOf;
  }

  #point(place: number | undefined, event: PointerEvent | undefined): void {
    this.#pointed = place;
    this.#describe();
    const node = this.#stackAt(place);
    this.origins.light(node);
    if (event) {
      const said = (this.#detail.textContent ?? '').split(', ');
      const head = said.slice(0, 2).join(', ');
      const stack = node === undefined ? [] : this.origins.stack(node);
      this.#on.pointed(
        event,
        place === undefined ? [] : [head, said.slice(2).join(', '), ...stack],
      );
    }
    this.#on.changed();
  }

  /** The node that allocated the block at a place; undefined if there is no block, or it is unknown. */
  #stackAt(place: number | undefined): number | undefined {
    if (place === undefined || this.#walk) return undefined;
    const i = this.model.blockAt(place, this.position);
    const node = i === undefined ? 0 : this.model.block(i).stack;
    return node > 0 ? node : undefined;
  }

  #describe(): void {
    this.#detail.textContent =
      this.#pointed === undefined
        ? 'Point at the map, or walk it with the arrow keys.'
        : this.#walk
          ? this.#chunkAt(this.#pointed)
          : this.#blockAt(this.#pointed);
  }

  #blockAt(place: number): string {
    const i = this.model.blockAt(place, this.position);
    const address = hex(this.model.addressAt(place));
    if (i === undefined) return `${address}: no block`;
    const block = this.model.block(i);
    const live = this.model.isLive(i, this.position);
    const { threads, frames } = this.model.facts;
    const age = `${count(this.position - block.birth)} calls`;
    const site = block.site > 0 ? frames[block.site] : undefined;
    const parts = [
      `${hex(block.address)}: ${live ? 'live' : 'free; the last block here had'} ${bytes(block.size)}`,
      live ? `age ${age}` : `freed by call ${count(block.death + 1)}`,
      `handed out by call ${count(block.birth + 1)}`,
      live && block.death !== NEVER ? `to be freed by call ${count(block.death + 1)}` : '',
      live && block.death === NEVER ? 'never freed' : '',
      `thread ${threads[block.thread] ?? '?'}`,
      site ? `from ${describe(site)}` : '',
    ];
    return parts.filter((part) => part !== '').join(', ');
  }

  #chunkAt(place: number): string {
    const address = this.model.addressAt(place);
    const walk = this.model.walkAt(this.position);
    if (!walk) return `${hex(address)}: no walk of the malloc before this moment`;
    const holds = walk.chunks.filter(
      ({ start, extent }) => start <= address && address < start + extent,
    );
    const said = holds.map(({ kind, start, extent, sizeClass, owner }) =>
      [
        `${chunkKinds[kind]} ${hex(start)} of ${bytes(extent)}`,
        sizeClass > 0 ? `class ${sizeClass}` : '',
        owner > 0 ? `heap ${owner}` : '',
      ]
        .filter((part) => part !== '')
        .join(', '),
    );
    const what = said.length > 0 ? said.join(' › ') : 'not memory of the malloc';
    return `${hex(address)}: ${what} (as of call ${count(walk.at)})`;
  }
}

export const legendItems = (legend: readonly [Rgb, string][]): HTMLElement[] =>
  legend.map(([color, text]) =>
    element('span', {}, element('i', { style: `background:${css(color)}` }), text),
  );
