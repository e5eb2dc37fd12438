// The map: draws rows of memory in address order on a canvas, from the whole heap to single bytes.

import type { HeapModel } from '../model.ts';
import type { ColorBy } from './colors.ts';
import { hex } from './elements.ts';
import { css, type Palette } from './palette.ts';
import { rasterBlocks, rasterWalk } from './raster.ts';

const CELLS = 512; // in a row, at most
const LEAST = 64; // bytes in a row
const GUTTER = 122; // pixels for addresses, if there is room
const NARROW = 560;

/** What the map shows of the heap. */
export interface Look {
  position: number;
  by: ColorBy;
  walk: boolean;
  /** 1 for the nodes of the model's `stacks` that are chosen. */
  mask: Uint8Array | undefined;
}

/** The visible part of the heap: bytes in a row, and the start of the first row as a share of all. */
export interface View {
  row: number;
  share: number;
}

interface MapEvents {
  /** The pointer or the keys moved to a place. */
  pointed: (place: number | undefined, event: PointerEvent | undefined) => void;
  /** The map must be redrawn. */
  changed: () => void;
  /** The reader moved the map; undefined: show the whole heap. */
  moved: (view: View | undefined) => void;
}

export class HeapMap {
  readonly canvas: HTMLCanvasElement;
  readonly #model: HeapModel;
  /** Bytes in a row, a power of two; and the place of the first row. */
  #row = LEAST;
  #from = 0;
  /** The place that the pointer or the keys moved to. */
  #cursor: number | undefined;
  /** Bytes of the largest map on the page, so that rows have the same height in all. */
  widest: number;
  readonly #on: MapEvents;

  constructor(model: HeapModel, canvas: HTMLCanvasElement, on: MapEvents, position: () => number) {
    this.#model = model;
    this.widest = model.extent;
    this.canvas = canvas;
    this.#on = on;
    this.#listen(position);
  }

  /** The height of a row in pixels: the more bytes in a row, the smaller. */
  get #height(): number {
    const least = this.#row <= 1024 ? 26 : this.#row <= 32_768 ? 14 : 8;
    const needed = Math.max(1, Math.ceil(this.widest / this.#row));
    // A small heap gets higher rows, so that it fills the map.
    return Math.max(least, Math.min(26, Math.floor(this.canvas.clientHeight / needed)));
  }

  get #rows(): number {
    return Math.max(1, Math.floor(this.canvas.clientHeight / this.#height));
  }

  get #gutter(): number {
    return this.canvas.clientWidth < NARROW ? 0 : GUTTER;
  }

  /** The bytes in a row with which the whole heap fits. */
  get fitting(): number {
    const before = this.#row;
    this.#row = LEAST;
    while (this.#row * this.#rows < this.#model.extent) this.#row *= 2;
    const fitting = this.#row;
    this.#row = before;
    return fitting;
  }

  /** Shows what another map shows. */
  follow({ row, share }: View): void {
    this.#row = row;
    this.#place(share * this.#model.extent);
  }

  /** Zooms in or out by a factor of two; `place` stays where it is. */
  zoom(
    nearer: boolean,
    place: number = this.#cursor ?? this.#from + (this.#row * this.#rows) / 2,
  ): void {
    const share = (place - this.#from) / (this.#row * this.#rows);
    const next = nearer ? this.#row / 2 : this.#row * 2;
    if (next < LEAST || (!nearer && this.#row * this.#rows >= this.#model.extent)) return;
    this.#row = next;
    this.#moveTo(place - share * this.#row * this.#rows);
  }

  scroll(rows: number): void {
    this.#moveTo(this.#from + rows * this.#row);
  }

  get page(): number {
    return Math.max(1, this.#rows - 2);
  }

  #moveTo(place: number): void {
    this.#place(place);
    this.#on.moved({ row: this.#row, share: this.#from / Math.max(1, this.#model.extent) });
  }

  #place(place: number): void {
    const most = Math.max(0, this.#model.extent - this.#row * (this.#rows - 1));
    this.#from = Math.floor(Math.min(most, Math.max(0, place)) / this.#row) * this.#row;
    this.#on.changed();
  }

  /** The visible part in words. */
  describe(): string {
    const end = Math.min(this.#model.extent, this.#from + this.#row * this.#rows);
    const share = this.#model.extent === 0 ? 1 : (end - this.#from) / this.#model.extent;
    const at = (place: number): string => hex(this.#model.addressAt(place));
    const all = share >= 1 ? 'the whole heap' : `${(100 * share).toPrecision(2)} % of the heap`;
    return `${at(this.#from)} to ${at(end)}: ${all}, ${this.#row.toLocaleString('en')} bytes a row`;
  }

  draw(look: Look, palette: Palette): void {
    const scale = devicePixelRatio;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    const context = this.canvas.getContext('2d');
    if (!context || width === 0) return;
    if (this.canvas.width !== Math.round(width * scale))
      this.canvas.width = Math.round(width * scale);
    if (this.canvas.height !== Math.round(height * scale))
      this.canvas.height = Math.round(height * scale);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.fillStyle = css(palette.paper);
    context.fillRect(0, 0, width, height);
    this.#drawRows(context, look, palette);
    this.#drawLabels(context, palette);
    this.#drawCursor(context, look, palette);
  }

  #drawRows(context: CanvasRenderingContext2D, look: Look, palette: Palette): void {
    const columns = Math.min(CELLS, this.#row);
    const rows = this.#rows;
    const stretch = { from: this.#from, grain: this.#row / columns, cells: columns * rows };
    const { position, by, walk, mask } = look;
    const raster = walk
      ? rasterWalk(this.#model, position, stretch, by, palette)
      : rasterBlocks(this.#model, position, stretch, by, palette, mask);
    const picture = new OffscreenCanvas(columns, rows);
    picture.getContext('2d')?.putImageData(new ImageData(raster.pixels, columns, rows), 0, 0);
    const left = this.#gutter;
    const width = this.canvas.clientWidth - left;
    const height = this.#height;
    context.imageSmoothingEnabled = false;
    for (let y = 0; y < rows; y++)
      context.drawImage(picture, 0, y, columns, 1, left, y * height, width, height - 1);
    if (this.#row <= 32_768) this.#drawEdges(context, raster.thing, columns, palette);
  }

  /** Draws edges between blocks, at scales at which they can be distinguished. */
  #drawEdges(
    context: CanvasRenderingContext2D,
    thing: Int32Array,
    columns: number,
    palette: Palette,
  ): void {
    const left = this.#gutter;
    const step = (this.canvas.clientWidth - left) / columns;
    context.fillStyle = css(palette.paper);
    for (let cell = 1; cell < thing.length; cell++) {
      if (thing[cell] === thing[cell - 1] || thing[cell] === -1) continue;
      const x = left + (cell % columns) * step;
      context.fillRect(x, Math.floor(cell / columns) * this.#height, 1, this.#height - 1);
    }
  }

  /** Draws addresses at the left, and a mark at each omitted hole of the address space. */
  #drawLabels(context: CanvasRenderingContext2D, palette: Palette): void {
    const [left, height] = [this.#gutter, this.#height];
    const width = this.canvas.clientWidth - left;
    const every = Math.ceil(28 / height);
    context.font = '11px ui-monospace, "DejaVu Sans Mono", monospace';
    context.textBaseline = 'middle';
    context.fillStyle = css(palette.pale);
    for (let y = 0; left > 0 && y < this.#rows; y += every) {
      const place = this.#from + y * this.#row;
      if (place < this.#model.extent)
        context.fillText(
          hex(this.#model.addressAt(place)),
          4,
          Math.max(7, y * height + height / 2),
        );
    }
    context.fillStyle = css(palette.ink);
    for (const { at } of this.#model.parts) {
      if (at === 0 || at < this.#from) continue;
      const y = Math.floor((at - this.#from) / this.#row);
      if (y >= this.#rows) break;
      const x = left + (((at - this.#from) % this.#row) / this.#row) * width;
      context.fillRect(x - 1, y * height, 2, height - 1);
    }
  }

  /** Frames the block at the cursor, in each of its rows; the cursor itself if there is no block. */
  #drawCursor(context: CanvasRenderingContext2D, look: Look, palette: Palette): void {
    if (this.#cursor === undefined) return;
    const model = this.#model;
    const i = look.walk ? undefined : model.blockAt(this.#cursor, look.position);
    const block = i === undefined ? undefined : model.block(i);
    const start = (block ? model.placeOf(block.address) : this.#cursor) - this.#from;
    const end = start + Math.max(1, block?.size ?? 1);
    const [row, rows, left, height] = [this.#row, this.#rows, this.#gutter, this.#height];
    const wide = (this.canvas.clientWidth - left) / row;
    context.strokeStyle = css(palette.ink);
    context.lineWidth = 2;
    const last = Math.min(rows, Math.ceil(end / row)) - 1;
    for (let y = Math.max(0, Math.floor(start / row)); y <= last; y++) {
      const x = left + Math.max(0, start - y * row) * wide;
      const width = left + Math.min(row, end - y * row) * wide - x;
      const spare = Math.max(0, 8 - width) / 2; // so that it is visible
      context.strokeRect(x - spare, y * height, width + 2 * spare, height - 1);
    }
  }

  /** The place at a point of the canvas; undefined outside the heap. */
  placeAt(x: number, y: number): number | undefined {
    const left = this.#gutter;
    const width = this.canvas.clientWidth - left;
    if (x < left || x >= left + width || y < 0) return undefined;
    const column = Math.floor(((x - left) / width) * this.#row);
    const place = this.#from + Math.floor(y / this.#height) * this.#row + column;
    return place < this.#model.extent ? place : undefined;
  }

  #listen(position: () => number): void {
    const { canvas } = this;
    const { pointed } = this.#on;
    let dragged: number | undefined;
    const point = (event: PointerEvent): void => {
      this.#cursor = this.placeAt(event.offsetX, event.offsetY);
      pointed(this.#cursor, event);
    };
    canvas.addEventListener('pointerdown', (event) => {
      dragged = event.offsetY;
      if (event.pointerType === 'mouse') canvas.setPointerCapture(event.pointerId);
      point(event);
    });
    for (const end of ['pointerup', 'pointercancel'] as const)
      canvas.addEventListener(end, () => {
        dragged = undefined;
      });
    canvas.addEventListener('pointermove', (event) => {
      if (dragged !== undefined && event.buttons === 1) {
        const rows = Math.trunc((dragged - event.offsetY) / this.#height);
        if (rows !== 0) dragged = event.offsetY;
        this.scroll(rows);
      }
      point(event);
    });
    canvas.addEventListener('pointerleave', (event) => {
      // After a tap the cursor stays, so that the reader can look at the block.
      if (event.pointerType === 'touch') return;
      this.#cursor = undefined;
      pointed(undefined, event);
    });
    canvas.addEventListener('dblclick', (event) =>
      this.zoom(true, this.placeAt(event.offsetX, event.offsetY)),
    );
    canvas.addEventListener(
      'wheel',
      (event) => {
        if (!event.ctrlKey) return;
        event.preventDefault();
        this.zoom(event.deltaY < 0, this.placeAt(event.offsetX, event.offsetY));
      },
      { passive: false },
    );
    canvas.addEventListener('keydown', (event) => {
      if (!this.#key(event.key, position)) return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  #key(key: string, position: () => number): boolean {
    const walk = (step: 1 | -1): void => {
      const next = this.#model.neighbour(this.#cursor ?? this.#from - 1, position(), step);
      if (next === undefined) return;
      this.#cursor = this.#model.placeOf(this.#model.block(next).address);
      if (this.#cursor < this.#from || this.#cursor >= this.#from + this.#row * this.#rows)
        this.#moveTo(this.#cursor - (this.#row * this.#rows) / 2);
      this.#on.pointed(this.#cursor, undefined);
    };
    const actions: Record<string, () => void> = {
      ArrowRight: () => walk(1),
      ArrowLeft: () => walk(-1),
      ArrowDown: () => this.scroll(1),
      ArrowUp: () => this.scroll(-1),
      PageDown: () => this.scroll(this.page),
      PageUp: () => this.scroll(-this.page),
      Home: () => this.#on.moved(undefined),
      '+': () => this.zoom(true),
      '=': () => this.zoom(true),
      '-': () => this.zoom(false),
    };
    actions[key]?.();
    return key in actions;
  }
}
