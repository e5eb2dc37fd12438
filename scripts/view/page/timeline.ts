// Live and resident bytes over the whole trace, with a line where we are.

import type { HeapModel } from '../model.ts';
import { css, type Palette } from './palette.ts';

export class Timeline {
  readonly canvas: HTMLCanvasElement;
  readonly #model: HeapModel;
  #picture: HTMLCanvasElement | undefined;
  /** Live bytes, the most since the position before; and the bytes of its full height. */
  readonly #live: Float64Array;
  readonly most: number;

  constructor(model: HeapModel, canvas: HTMLCanvasElement, seek: (stop: number) => void) {
    this.#model = model;
    this.canvas = canvas;
    const { bytes, over, resident } = model.stops;
    this.#live = bytes.map((value, i) => value + (over[i] as number));
    this.most = [this.#live, resident].reduce(
      (most, column) => column.reduce((a, b) => Math.max(a, b), most),
      1,
    );
    const go = (event: PointerEvent): void => {
      const { left, width } = canvas.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - left) / width));
      seek(Math.round(share * (model.count - 1)));
    };
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId);
      go(event);
    });
    canvas.addEventListener('pointermove', (event) => {
      if (event.buttons === 1) go(event);
    });
  }

  /** The picture behind the line; again after a change of size or colours. */
  prepare(palette: Palette): void {
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
    context.fillStyle = css(palette.line);
    context.fillRect(0, height - scale, width, scale);
  }

  /** For each pixel the most that there was in its stretch of time. */
  #area(context: CanvasRenderingContext2D, values: Float64Array, color: string): void {
    const { width, height } = context.canvas;
    context.fillStyle = color;
    for (let x = 0; x < width; x++) {
      const from = Math.floor((x / width) * values.length);
      const to = Math.max(from + 1, Math.floor(((x + 1) / width) * values.length));
      let top = 0;
      for (let i = from; i < to; i++) top = Math.max(top, values[i] ?? 0);
      const tall = (top / this.most) * (height - 2);
      context.fillRect(x, height - tall, 1, tall);
    }
  }

  draw(stop: number, palette: Palette): void {
    const context = this.canvas.getContext('2d');
    if (!context || !this.#picture) return;
    const { width, height } = this.canvas;
    context.clearRect(0, 0, width, height);
    context.drawImage(this.#picture, 0, 0);
    context.fillStyle = css(palette.ink);
    const x = Math.round((stop / Math.max(1, this.#model.count - 1)) * (width - 2));
    context.fillRect(x, 0, Math.max(2, devicePixelRatio), height);
  }
}
