// The page: opens the heaps that it contains, and moves all of them through time together.

import { HeapModel } from '../model.ts';
import { chosenOverTime, type What } from '../weights.ts';
import type { Choice } from './choice.ts';
import type { ColorBy } from './colors.ts';
import { bytes, count, duration } from './elements.ts';
import { readTraces, type Source } from './load.ts';
import type { View } from './map.ts';
import { readPalette } from './palette.ts';
import { legendItems, Panel } from './panel.ts';
import { processTree } from './processes.ts';
import { Tooltip } from './tooltip.ts';

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
const what = find<HTMLSelectElement>('what');
const unit = find<HTMLSelectElement>('unit');
const byLine = find<HTMLInputElement>('by-line');
const letters = find<HTMLInputElement>('search');
const difference = find<HTMLInputElement>('difference');
const tooltip = new Tooltip();

/** When the slider has rested for this many milliseconds, the graphs follow it. */
const REST = 120;

/** The steps of the slider: as many as the heap with most stops has. */
let steps = 1;
let panels: Panel[] = [];
let palette = readPalette();
let drawing = false;
/** The marked moment, as a share of the slider's range. */
let mark: number | undefined;
let choice: Choice | undefined;
/** The live bytes of chosen blocks at each stop, by panel. */
let chosen: (Float64Array | undefined)[] = [];

/** Draws once a frame, however many changes come before it. */
function redraw(): void {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    for (const [i, panel] of panels.entries()) {
      const last = panel.model.count - 1;
      panel.draw(palette, mark === undefined ? undefined : Math.round(mark * last), chosen[i]);
    }
  });
}

function prepare(): void {
  palette = readPalette();
  const full = Math.max(1, ...panels.map((panel) => panel.timeline.most));
  for (const panel of panels) {
    panel.choose(color.value as ColorBy, walk.checked);
    panel.prepare(palette, full);
  }
  showScale(full);
  show();
  ask();
}

/** Profiles have neither the addresses of blocks nor resident bytes. */
const isProfile = (): boolean => panels.every(({ model }) => model.facts.moments !== undefined);

function showScale(full: number): void {
  find('scale').replaceChildren(
    ...legendItems([
      [palette.live, 'live'],
      ...(isProfile() ? [] : [[palette.resident, 'resident'] as const]),
      ...(choice ? [[palette.chosen, 'live, chosen'] as const] : []),
    ] as [typeof palette.live, string][]),
    `full height: ${bytes(full)}`,
  );
}

/** Shows all heaps at the same share of their calls: traces of one program are about equally long. */
function show(): void {
  const share = Number(scrub.value) / Math.max(1, steps);
  for (const panel of panels) panel.show(Math.round(share * (panel.model.count - 1)));
  const [first] = panels;
  if (first) {
    const { facts, stops, count: length } = first.model;
    const said =
      facts.moments?.[first.position] ??
      `after ${count(first.position)} of ${count(facts.events)} calls`;
    scrub.setAttribute('aria-valuetext', said);
    const time = stops.time[Math.round(share * (length - 1))] ?? 0;
    find('moment').textContent = facts.moments ? said : `${said}, ${duration(time)}`;
  }
  redraw();
  if (what.value === 'live' || what.value === 'grown') askSoon();
}

let asking = 0;

/** Updates the graphs when the slider rests, because doing it meanwhile would slow the slider down. */
function askSoon(): void {
  clearTimeout(asking);
  asking = window.setTimeout(ask, REST);
}

/** Computes the totals by function for all heaps, then draws the graphs and tables. */
function ask(): void {
  clearTimeout(asking);
  const question = {
    what: what.value as What,
    unit: unit.value as 'bytes' | 'blocks',
    byLine: byLine.checked,
    letters: letters.value.trim(),
    difference: difference.checked,
  };
  for (const panel of panels) {
    const last = panel.model.count - 1;
    const marked = panel.model.positionOf(Math.round((mark ?? 0) * last));
    panel.origins.ask(question, panel.position, marked);
  }
  for (const [i, panel] of panels.entries()) panel.origins.draw(panels[i === 0 ? 1 : 0]?.origins);
}

/** Chooses the same in every heap: maps dim all other blocks, time lines show the chosen share. */
function choose(wanted: Choice | undefined): void {
  choice = wanted;
  for (const panel of panels) panel.origins.choose(choice);
  chosen = panels.map(({ model, origins }) => origins.mask && chosenOverTime(model, origins.mask));
  for (const panel of panels) panel.showLegend(palette);
  showScale(Math.max(1, ...panels.map((panel) => panel.timeline.most)));
  redraw();
}

/** Makes all maps show the same share of memory, at one scale. */
function follow(view: View | undefined, leader?: Panel): void {
  const row = Math.max(...panels.map((panel) => panel.map.fitting));
  for (const panel of panels) if (panel !== leader) panel.map.follow(view ?? { row, share: 0 });
  redraw();
}

function seek(step: number): void {
  scrub.value = String(Math.min(steps, Math.max(0, Math.round(step))));
  show();
}

let playing = 0;

/** Plays the whole trace in the seconds that `speed` gives, however long the program ran. */
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

/** Marks this moment, and makes the graphs show what grew since. */
function markHere(): void {
  mark = Number(scrub.value) / Math.max(1, steps);
  what.value = 'grown';
  ask();
  redraw();
}

function listen(): void {
  const step = (by: number) => () => {
    stopPlaying();
    seek(Number(scrub.value) + by);
  };
  play.addEventListener('click', toggle);
  find('back').addEventListener('click', step(-1));
  find('forth').addEventListener('click', step(1));
  find('mark').addEventListener('click', markHere);
  scrub.addEventListener('input', () => {
    if (playing) stopPlaying();
    show();
  });
  for (const control of [color, walk]) control.addEventListener('change', prepare);
  for (const control of [what, unit, byLine, difference]) control.addEventListener('change', ask);
  letters.addEventListener('input', askSoon);
  letters.addEventListener('keydown', (event) => {
    const wanted = letters.value.trim();
    if (event.key === 'Enter') choose(wanted === '' ? undefined : { match: wanted });
  });
  addEventListener('resize', prepare);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', prepare);
  const keys: Record<string, () => void> = {
    ' ': toggle,
    ',': step(-1),
    '.': step(1),
    m: markHere,
  };
  addEventListener('keydown', (event) => {
    const { target, key } = event;
    if (target instanceof HTMLElement && /^(BUTTON|SELECT|INPUT|SUMMARY)$/.test(target.tagName))
      return;
    if (!(key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[key]?.();
  });
}

/** Makes the panel of a process. Its list of processes opens another process in its place. */
async function panelOf(sources: readonly Source[], source: Source, at: number): Promise<Panel> {
  const model = new HeapModel(await source.load());
  const open = async (other: Source): Promise<void> => {
    panels[at] = await panelOf(sources, other, at);
    arrange();
  };
  const panel: Panel = new Panel(
    model,
    {
      seek: (stop) => seek((stop / Math.max(1, model.count - 1)) * steps),
      changed: redraw,
      moved: (view) => follow(view, view && panel),
      chosen: choose,
      pointed: (event, lines) => tooltip.show(event, lines),
    },
    processTree(sources, source, open),
  );
  return panel;
}

/** Puts the panels into the page, at the moment with most live bytes. */
function arrange(): void {
  const models = panels.map(({ model }) => model);
  steps = Math.max(1, ...models.map((model) => model.count - 1));
  find('panels').replaceChildren(...panels.map((panel) => panel.element));
  find('panels').classList.toggle('several', panels.length > 1);
  find('lines').replaceChildren(...panels.map((panel) => panel.timeline.element));
  const title = titleOf(models);
  document.title = title;
  find('title').textContent = title;
  find('title').title = title;
  document.body.classList.toggle('profiled', isProfile());
  find('subtitle').textContent = isProfile()
    ? 'Who allocates, and what becomes of it'
    : 'Every call of malloc and free, and who made it';
  find('walks').hidden = !models.some((model) => model.walks > 0);
  find('differences').hidden = panels.length !== 2;
  mark = undefined;
  choice = undefined;
  chosen = [];
  const [first] = models;
  for (const { map } of panels) map.widest = Math.max(...models.map(({ extent }) => extent));
  scrub.max = String(steps);
  const peak = first ? first.stopAt(first.facts.peakAt) / Math.max(1, first.count - 1) : 0;
  scrub.value = String(Math.round(peak * steps));
  follow(undefined);
  prepare();
}

/** `ls -l: paged and glibc`; if the commands differ, each malloc with its own. */
function titleOf(models: readonly HeapModel[]): string {
  const commands = new Set(models.map(({ facts }) => facts.command));
  const [command = ''] = commands;
  if (commands.size === 1)
    return `${command}: ${models.map(({ facts }) => facts.malloc).join(' and ')}`;
  return models.map(({ facts }) => `${facts.command} on ${facts.malloc}`).join('; ');
}

async function start(): Promise<void> {
  const traces = readTraces().filter((sources) => sources.length > 0);
  panels = await Promise.all(
    traces.map((sources, at) => panelOf(sources, sources[0] as Source, at)),
  );
  listen();
  arrange();
  await new Promise(requestAnimationFrame);
  document.documentElement.dataset.ready = performance.now().toFixed(0);
}

start().catch((error: unknown) => {
  find('subtitle').textContent = `This page could not be opened: ${error}`;
  throw error;
});
