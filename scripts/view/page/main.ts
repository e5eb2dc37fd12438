// The page: opens the heaps that it carries, and moves all of them through time together.

import { HeapModel } from '../model.ts';
import type { ColorBy } from './colors.ts';
import { count } from './elements.ts';
import { loadHeaps } from './load.ts';
import { readPalette } from './palette.ts';
import { Panel } from './panel.ts';

function find<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found as T;
}

const scrub = find<HTMLInputElement>('scrub');
const play = find<HTMLButtonElement>('play');
const color = find<HTMLSelectElement>('color');
const walk = find<HTMLInputElement>('walk');
const speed = find<HTMLSelectElement>('speed');

/** Steps of the slider: those of the heap that can be shown at most positions. */
let steps = 1;
let panels: Panel[] = [];
let palette = readPalette();
let drawing = false;

/** Draws once for all that changes before the next frame. */
function redraw(): void {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    for (const panel of panels) panel.draw(palette);
  });
}

function prepare(): void {
  palette = readPalette();
  for (const panel of panels) {
    panel.choose(color.value as ColorBy, walk.checked);
    panel.prepare(palette);
  }
  show();
}

/** Two traces of one program are about equally long; they are shown at the same share of their calls. */
function show(): void {
  const share = Number(scrub.value) / Math.max(1, steps);
  for (const panel of panels) panel.show(Math.round(share * (panel.model.count - 1)));
  const [first] = panels;
  if (first)
    scrub.setAttribute(
      'aria-valuetext',
      `after ${count(first.position)} of ${count(first.model.facts.events)} calls`,
    );
  redraw();
}

function seek(step: number): void {
  scrub.value = String(Math.min(steps, Math.max(0, Math.round(step))));
  show();
}

let playing = 0;

/** The whole trace in so many seconds, however long it took. */
function startPlaying(): void {
  if (Number(scrub.value) >= steps) seek(0);
  play.textContent = 'Pause';
  play.setAttribute('aria-pressed', 'true');
  let at = Number(scrub.value);
  let before = performance.now();
  const tick = (now: number): void => {
    at += ((now - before) / 1000 / Number(speed.value)) * steps;
    before = now;
    seek(Math.floor(at));
    if (at >= steps) stopPlaying();
    else playing = requestAnimationFrame(tick);
  };
  playing = requestAnimationFrame(tick);
}

function stopPlaying(): void {
  cancelAnimationFrame(playing);
  playing = 0;
  play.textContent = 'Play';
  play.setAttribute('aria-pressed', 'false');
}

const toggle = (): void => (playing ? stopPlaying() : startPlaying());

function listen(): void {
  const step = (by: number) => () => {
    stopPlaying();
    seek(Number(scrub.value) + by);
  };
  play.addEventListener('click', toggle);
  find('back').addEventListener('click', step(-1));
  find('forth').addEventListener('click', step(1));
  scrub.addEventListener('input', () => {
    if (playing) stopPlaying();
    show();
  });
  color.addEventListener('change', prepare);
  walk.addEventListener('change', prepare);
  addEventListener('resize', prepare);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', prepare);
  const keys: Record<string, () => void> = { ' ': toggle, ',': step(-1), '.': step(1) };
  addEventListener('keydown', (event) => {
    const { target, key } = event;
    if (target instanceof HTMLElement && /^(BUTTON|SELECT|INPUT|SUMMARY)$/.test(target.tagName))
      return;
    if (!(key in keys)) return;
    event.preventDefault();
    keys[key]?.();
  });
}

async function open(): Promise<void> {
  const models = (await loadHeaps()).map((data) => new HeapModel(data));
  steps = Math.max(1, ...models.map((model) => model.count - 1));
  panels = models.map((model) => {
    const seekHere = (stop: number): void => seek((stop / Math.max(1, model.count - 1)) * steps);
    return new Panel(model, { seek: seekHere, changed: redraw });
  });
  find('panels').append(...panels.map((panel) => panel.element));
  const names = models.map(({ facts }) => facts.malloc).join(' and ');
  document.title = `Heap map: ${names}`;
  find('subtitle').textContent = `Every call of malloc and free, on ${names}`;
  find('walks').hidden = !models.some((model) => model.walks > 0);
  scrub.max = String(steps);
  const [first] = models;
  scrub.value = String(
    first
      ? Math.round((first.stopAt(first.facts.peakAt) / Math.max(1, first.count - 1)) * steps)
      : 0,
  );
  listen();
  for (const panel of panels) panel.map.fit();
  prepare();
  await new Promise(requestAnimationFrame);
  document.documentElement.dataset.ready = performance.now().toFixed(0);
}

open().catch((error: unknown) => {
  find('subtitle').textContent = `This page could not be opened: ${error}`;
  throw error;
});
