// One heap on the page: numbers, time line, map, what is pointed at, histograms.

import { chunkKinds, NEVER } from '../data.ts';
import { fragmentation, type HeapModel } from '../model.ts';
import { histogram } from './bins.ts';
import { type ColorBy, legendOf } from './colors.ts';
import { bytes, count, duration, element, hex, percent } from './elements.ts';
import { HeapMap } from './map.ts';
import { css, type Palette, type Rgb } from './palette.ts';
import { Timeline } from './timeline.ts';

export class Panel {
  readonly element: HTMLElement;
  readonly model: HeapModel;
  readonly map: HeapMap;
  readonly #timeline: Timeline;
  readonly #numbers = new Map<string, HTMLElement>();
  readonly #detail = element('p', { class: 'detail note', 'aria-live': 'polite' });
  readonly #window = element('p', { class: 'note window' });
  readonly #legend = element('p', { class: 'legend', 'aria-label': 'Legend' });
  readonly #scale = element('p', { class: 'scale note', 'aria-label': 'Legend of the time line' });
  #pointed: number | undefined;
  #stop = 0;
  #by: ColorBy = 'state';
  #walk = false;

  constructor(model: HeapModel, on: { seek: (stop: number) => void; changed: () => void }) {
    this.model = model;
    const { malloc, command } = model.facts;
    const timeline = element('canvas', {
      class: 'timeline',
      role: 'img',
      'aria-label': 'Live and resident bytes over time; the slider above moves through it',
    });
    const map = element('canvas', {
      class: 'map',
      tabindex: '0',
      role: 'application',
      'aria-label': `Heap map of ${malloc}: arrows go from block to block, plus and minus zoom`,
    });
    const pointed = (place: number | undefined): void => {
      this.#pointed = place;
      this.#describe();
      on.changed();
    };
    this.#timeline = new Timeline(model, timeline, on.seek);
    this.map = new HeapMap(model, map, { pointed, changed: on.changed }, () => this.position);
    this.element = element(
      'article',
      { class: 'panel', 'aria-label': malloc },
      element('h2', { title: command }, `${malloc} `, element('span', {}, command)),
      ...this.#remarks(),
      this.#numberList(),
      timeline,
      this.#scale,
      this.#tools(),
      map,
      this.#legend,
      this.#window,
      this.#detail,
      this.#histograms(),
    );
  }

  get position(): number {
    return this.model.positionOf(this.#stop);
  }

  #remarks(): HTMLElement[] {
    const { damage, blurred, density, every, strays, overlaps } = this.model.facts;
    const lines = [...damage];
    if (strays > 0) lines.push(`${count(strays)} releases of what was no live block`);
    if (overlaps > 0) lines.push(`${count(overlaps)} blocks handed out while they were live`);
    const marked = lines.map((line) => element('p', { class: 'damage' }, line));
    const notes = [];
    if (every > 1)
      notes.push(
        `Thinned out: the state after every ${count(every)} calls is shown, exactly; blocks that lived only in between are not.`,
      );
    if (blurred > 0)
      notes.push(
        `${count(blurred)} small blocks are shown together, as live bytes in each ${bytes(density.cell)}, at ${density.frames.length} moments.`,
      );
    return [...marked, ...notes.map((line) => element('p', { class: 'note' }, line))];
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
    for (const [name, label] of Object.entries(names)) {
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
      button('show the whole heap', 'all', () => this.map.fit()),
      button('scroll up', '↑', () => this.map.scroll(-this.map.page)),
      button('scroll down', '↓', () => this.map.scroll(this.map.page)),
    );
  }

  #histograms(): HTMLElement {
    const { sizes, lifetimes } = this.model.facts;
    return element(
      'div',
      { class: 'histograms' },
      histogram('Blocks by size', sizes, bytes),
      histogram('Blocks by lifetime (those that ended)', lifetimes, duration),
    );
  }

  /** Colours and sizes may have changed. */
  prepare(palette: Palette): void {
    this.#timeline.prepare(palette);
    const items = (legend: readonly [Rgb, string][]): HTMLElement[] =>
      legend.map(([color, text]) =>
        element('span', {}, element('i', { style: `background:${css(color)}` }), text),
      );
    this.#legend.replaceChildren(...items(legendOf(this.model, this.#by, this.#walk, palette)));
    this.#scale.replaceChildren(
      ...items([
        [palette.live, 'live'],
        [palette.resident, 'resident'],
      ]),
      `full height: ${bytes(this.#timeline.most)}`,
    );
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

  draw(palette: Palette): void {
    this.#timeline.draw(this.#stop, palette);
    this.map.draw({ position: this.position, by: this.#by, walk: this.#walk }, palette);
    const walk = this.#walk ? this.model.walkAt(this.position) : undefined;
    const asOf = walk ? `; the malloc’s own view, as of call ${count(walk.at)}` : '';
    this.#window.textContent = this.map.describe() + asOf;
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
    const { threads, sites } = this.model.facts;
    const age = `${count(this.position - block.birth)} calls`;
    const parts = [
      `${hex(block.address)}: ${live ? 'live' : 'free; the last block here had'} ${bytes(block.size)}`,
      live ? `age ${age}` : `freed by call ${count(block.death + 1)}`,
      `handed out by call ${count(block.birth + 1)}`,
      live && block.death !== NEVER ? `to be freed by call ${count(block.death + 1)}` : '',
      live && block.death === NEVER ? 'never freed' : '',
      `thread ${threads[block.thread] ?? '?'}`,
      sites[block.site] ? `from ${sites[block.site]}` : '',
    ];
    return parts.filter((part) => part !== '').join(', ');
  }

  #chunkAt(place: number): string {
    const address = this.model.addressAt(place);
    const walk = this.model.walkAt(this.position);
    if (!walk) return `${hex(address)}: the malloc had not been asked yet`;
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
    const what = said.length > 0 ? said.join(' › ') : 'not the malloc’s';
    return `${hex(address)}: ${what} (as of call ${count(walk.at)})`;
  }
}
