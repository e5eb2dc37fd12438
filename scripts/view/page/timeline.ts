// Draws live and resident bytes over the whole trace, aligned with the slider above, with an axis.

import type { HeapModel } from '../model.ts';
import { bytes, duration, element, thousands } from './elements.ts';
import { css, type Palette } from './palette.ts';

/** Half of the slider's thumb: the distance of the first and the last moment from the edges. */
const INSET = 8;
const AXIS = 17; // pixels below the picture
const FONT = '11px system-ui, "DejaVu Sans", sans-serif';

/** What a time line shows in addition to live and resident bytes. */
export interface Marks {
  stop: number;
  /** The marked stop, if any. */
  mark: number | undefined;
  /** The live bytes of chosen blocks. */
  chosen: Float64Array | undefined;
}

export class Timeline {
  readonly element: HTMLElement;
  readonly canvas: HTMLCanvasElement;
  readonly #model: HeapModel;
  #picture: HTMLCanvasElement | undefined;
  /** The most live bytes since the previous stop. */
  readonly #live: Float64Array;
  /** The most live or resident bytes. */
  readonly most: number;
  #full = 1;

  constructor(
    model: HeapModel,
    on: { seek: (stop: number) => void; pointed: (event: PointerEvent, lines: string[]) => void },
  ) {
    this.#model = model;
    const { malloc } = model.facts;
    this.canvas = element('canvas', {
      class: 'timeline',
      role: 'img',
      'aria-label': `Live and resident bytes of ${malloc} over time; the slider above moves through it`,
    });
    this.element = element(
      'div',
      { class: 'line' },
      this.canvas,
      element('b', { 'aria-hidden': 'true' }, malloc),
    );
    const { bytes: live, over, resident } = model.stops;
    this.#live = live.map((value, i) => value + (over[i] as number));
    this.most = [this.#live, resident].reduce(
      (most, column) => column.reduce((a, b) => Math.max(a, b), most),
      1,
    );
    this.#listen(on);
  }

  #listen(on: {
    seek: (stop: number) => void;
    pointed: (event: PointerEvent, lines: string[]) => void;
  }): void {
    const { canvas } = this;
    const stopAt = (event: PointerEvent): number => {
      const { left, width } = canvas.getBoundingClientRect();
      const share = (event.clientX - left - INSET) / Math.max(1, width - 2 * INSET);
      return Math.round(Math.min(1, Math.max(0, share)) * (this.#model.count - 1));
    };
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId);
      on.seek(stopAt(event));
    });
    canvas.addEventListener('pointermove', (event) => {
      if (event.buttons === 1) on.seek(stopAt(event));
      on.pointed(event, this.#describe(stopAt(event)));
    });
    canvas.addEventListener('pointerleave', (event) => on.pointed(event, []));
  }

  #describe(stop: number): string[] {
    const { time, resident } = this.#model.stops;
    const position = this.#model.positionOf(stop);
    const moment = this.#model.facts.moments?.[position];
    const known = (resident[stop] ?? 0) > 0;
    return [
      moment ?? `after call ${position.toLocaleString('en')}, ${duration(time[stop] ?? 0)}`,
      `${bytes(this.#live[stop] ?? 0)} live${known ? `, ${bytes(resident[stop] ?? 0)} resident` : ''}`,
    ];
  }

  /** Draws the background; again when size or colours change. `full`: the bytes of the full height. */
  prepare(palette: Palette, full: number): void {
    this.#full = full;
    const scale = devicePixelRatio;
    const width = Math.max(1, Math.round(this.canvas.clientWidth * scale));
    const height = Math.max(1, Math.round(this.canvas.clientHeight * scale));
    this.canvas.width = width;
    this.canvas.height = height;
    this.#picture = Object.assign(document.createElement('canvas'), { width, height });
    const context = this.#picture.getContext('2d');
    if (!context) return;
    this.#area(context, this.#model.stops.resident, css(palette.resident));
    this.#area(context, this.#live, css(palette.live));
    this.#axis(context, palette);
  }

  #x(share: number): number {
    const inset = INSET * devicePixelRatio;
    return inset + share * (this.canvas.width - 2 * inset);
  }

  get #floor(): number {
    return this.canvas.height - AXIS * devicePixelRatio;
  }

  /** Draws for each pixel the maximum in its stretch of time. */
  #area(context: CanvasRenderingContext2D, values: Float64Array, color: string): void {
    context.fillStyle = color;
    const [left, right, floor] = [Math.round(this.#x(0)), Math.round(this.#x(1)), this.#floor];
    for (let x = left; x < right; x++) {
      const from = Math.floor(((x - left) / (right - left)) * values.length);
      const to = Math.max(from + 1, Math.floor(((x + 1 - left) / (right - left)) * values.length));
      let top = 0;
      for (let i = from; i < to; i++) top = Math.max(top, values[i] ?? 0);
      const tall = (top / this.#full) * (floor - 2);
      context.fillRect(x, floor - tall, 1, tall);
    }
  }

  /** Draws the axis: calls, and the time that they took. */
  #axis(context: CanvasRenderingContext2D, palette: Palette): void {
    const scale = devicePixelRatio;
    const { facts, count, stops } = this.#model;
    const floor = this.#floor;
    const [left, right] = [this.#x(0), this.#x(1)];
    context.fillStyle = css(palette.line);
    context.fillRect(left, floor, right - left, scale);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.font = FONT;
    const room = (right - left) / scale;
    const step = niceStep(facts.events / Math.max(1, Math.floor(room / 150)));
    const ticks = Math.floor(facts.events / step);
    for (let i = 0; i <= ticks; i++) {
      const share = (i * step) / Math.max(1, facts.events);
      const stop = Math.min(count - 1, Math.round(share * (count - 1)));
      const x = (left + share * (right - left)) / scale;
      context.fillStyle = css(palette.line);
      context.fillRect(x, floor / scale, 1, 4);
      const text =
        i === 0
          ? facts.moments
            ? '0'
            : '0 calls'
          : facts.moments
            ? duration(stops.time[stop] ?? 0)
            : `${thousands(i * step).replace(/\.0+ /, ' ')} · ${duration(stops.time[stop] ?? 0)}`;
      context.fillStyle = css(palette.pale);
      context.textAlign = i === 0 ? 'left' : room * (1 - share) < 45 ? 'right' : 'center';
      context.fillText(text, i === 0 ? 1 : Math.min(x, room + INSET), floor / scale + 14);
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
  }

  draw({ stop, mark, chosen }: Marks, palette: Palette): void {
    const context = this.canvas.getContext('2d');
    if (!context || !this.#picture) return;
    const { width, height } = this.canvas;
    context.clearRect(0, 0, width, height);
    context.drawImage(this.#picture, 0, 0);
    if (chosen) this.#area(context, chosen, css(palette.chosen));
    const last = Math.max(1, this.#model.count - 1);
    const wide = Math.max(2, Math.round(2 * devicePixelRatio));
    const line = (at: number): number => Math.round(this.#x(at / last) - wide / 2);
    context.fillStyle = css(palette.ink);
    context.fillRect(line(stop), 0, wide, this.#floor);
    if (mark === undefined) return;
    context.fillStyle = css(palette.remote);
    for (let y = 0; y < this.#floor; y += 4 * wide) context.fillRect(line(mark), y, wide, 2 * wide);
  }
}

/** The smallest of 1, 2 and 5 times a power of ten that is at least `least`; never below 1. */
function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, least)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least) ?? 10 * power;
}
