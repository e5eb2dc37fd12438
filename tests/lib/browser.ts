/** The page of `view` in Debian's chromium, as its tests open it. */
import { pathToFileURL } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { chromium } from 'playwright-core';
import { afterAll, beforeAll, expect } from 'vitest';
import { findProgram, programs } from '../../scripts/malloc/programs.ts';
import { need } from './need.ts';

type Options = Parameters<Browser['newPage']>[0];
/** Opens `file`, does `work`, and fails if the page reports an error or requests a file. */
export type InPage = (
  file: string,
  work: (page: Page) => Promise<void>,
  options?: Options,
) => Promise<void>;

/** A browser for the tests of one file, started before them and closed after them. */
export function browserForTests(): InPage {
  let browser: Browser | undefined;
  beforeAll(async () => {
    const program = programs().chromium;
    const executablePath = program && findProgram('chromium', program);
    if (executablePath === undefined) return;
    const args = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking'];
    browser = await chromium.launch({ executablePath, args, timeout: 90_000 });
  });
  afterAll(() => browser?.close());
  return async (file, work, options = {}) => {
    need('chromium');
    const page = await (browser as Browser).newPage(options);
    const complaints: string[] = [];
    page.on('console', (message) => complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(String(error.stack)));
    page.on('request', (request) => {
      if (!request.url().startsWith('file:') && !request.url().startsWith('blob:'))
        complaints.push(`asks for ${request.url()}`);
    });
    try {
      await page.goto(pathToFileURL(file).href);
      await page.waitForSelector('html[data-ready]', { timeout: 60_000 });
      await work(page);
    } finally {
      await page.close();
    }
    expect(complaints).toEqual([]);
  };
}

/** Moves the slider as a person does, by an input event. */
export const scrubTo = (page: Page, step: number): Promise<void> =>
  page.locator('#scrub').evaluate((slider, to) => {
    (slider as HTMLInputElement).value = String(to);
    slider.dispatchEvent(new Event('input'));
  }, step);

/** A point of a map: its tooltip, its position and its colour. */
export interface Sample {
  said: string;
  /** By its place between the first address and the end of the map, if there is no hole in it. */
  address: number;
  color: string;
}

/** Points in the middle of each row of a map, each at the middle of one of `pieces` equal parts. */
export const samples = (page: Page, pieces: number, panel = 0): Promise<Sample[]> =>
  page.locator(`.panel >> nth=${panel} >> .map`).evaluate(async (element, parts) => {
    const canvas = element as HTMLCanvasElement;
    const words = (name: string): string =>
      canvas.closest('.panel')?.querySelector(name)?.textContent ?? '';
    const { left, top } = canvas.getBoundingClientRect();
    const pointAt = (x: number, y: number): string => {
      const at = { clientX: left + canvas.clientLeft + x, clientY: top + canvas.clientTop + y };
      canvas.dispatchEvent(new PointerEvent('pointermove', at));
      return words('.detail');
    };
    const leave = async (): Promise<void> => {
      canvas.dispatchEvent(new PointerEvent('pointerleave'));
      await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    };
    let gutter = 0;
    while (gutter < canvas.clientWidth && !pointAt(gutter, 2).startsWith('0x')) gutter++;
    const width = canvas.clientWidth - gutter;
    await leave();
    // A copy, so that it is read from the graphics card only once.
    const copy = new OffscreenCanvas(canvas.width, canvas.height);
    const context = copy.getContext('2d', { willReadFrequently: true });
    context?.drawImage(canvas, 0, 0);
    const color = (x: number, y: number): string =>
      [...(context?.getImageData(x, y, 1, 1).data ?? [])].slice(0, 3).join(' ');
    // The last line of pixels in a row is the paper between it and the next.
    const paper = color(1, canvas.height - 1);
    let height = 1;
    while (height < 40 && color(gutter + 5, height - 1) !== paper) height++;
    const [from = 0, bytes = 0] = [/^0x[0-9a-f]+/, /[\d,]+(?= bytes a row)/].map((what) =>
      Number(what.exec(words('.window'))?.[0]?.replaceAll(',', '')),
    );
    const points = [];
    for (let row = 0; (row + 1) * height <= canvas.clientHeight; row++)
      for (let part = 0; part < parts; part++) {
        const x = Math.floor(gutter + ((part + 0.5) / parts) * width);
        const y = row * height + (height >> 1);
        const address = from + row * bytes + Math.floor(((x - gutter) / width) * bytes);
        points.push({ x, y, address, color: color(x, y) });
      }
    const found = points.map(({ x, y, ...rest }) => ({ ...rest, said: pointAt(x, y) }));
    await leave();
    return found.filter(({ said }) => said.startsWith('0x'));
  }, pieces);
