// Measures how fast headless chromium opens a page of `view` and redraws it as the slider moves.

import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Failure } from '../lib/errors.ts';
import { findProgram, programs } from '../malloc/programs.ts';

/** How fast the page is for a reader. */
export interface Fluency {
  /** Milliseconds from opening the file until the page has drawn itself. */
  open: number;
  /** Frames a second while the slider moves through the whole trace, one step a frame. */
  framesPerSecond: number;
  /** Milliseconds that 19 of 20 frames did not exceed. */
  frame95: number;
  /** Milliseconds a frame that the page's own script took, on average. */
  script: number;
}

const FRAMES = 150;

/** Needs chromium and playwright-core; throws Failure without them. `width` in pixels. */
export async function measurePage(file: string, width = 1280): Promise<Fluency> {
  const program = programs().chromium;
  const executablePath = program && findProgram('chromium', program);
  if (executablePath === undefined)
    throw new Failure('chromium, which would open the page, is not installed', {
      hint: 'make deps',
    });
  const { chromium } = await import('playwright-core').catch((cause) => {
    throw new Failure('playwright-core is not installed', { hint: 'npm ci', cause });
  });
  const args = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking'];
  const browser = await chromium.launch({ executablePath, args, timeout: 90_000 });
  try {
    const page = await browser.newPage({ viewport: { width, height: 800 } });
    await page.goto(pathToFileURL(resolve(file)).href);
    const ready = page.locator('html[data-ready]');
    await ready.waitFor({ timeout: 120_000 });
    const open = Number(await ready.getAttribute('data-ready'));
    const { times, script }: Scrubbed = await page.evaluate(scrubThrough);
    const frames = times.slice(1).map((time, i) => time - (times[i] ?? 0));
    const seconds = ((times.at(-1) ?? 0) - (times[0] ?? 0)) / 1000;
    frames.sort((a, b) => a - b);
    return {
      open,
      framesPerSecond: frames.length / seconds,
      frame95: frames[Math.floor(frames.length * 0.95)] ?? 0,
      script,
    };
  } finally {
    await browser.close();
  }
}

interface Scrubbed {
  times: number[];
  script: number;
}

/**
 * Runs in the page: moves the slider one step a frame, and returns when each frame began and how long
 * the page's own script took. The browser calls that script before ours in each frame.
 */
const scrubThrough = `(async () => {
  const slider = document.querySelector('#scrub');
  const times = [];
  let script = 0;
  for (let i = 0; i <= ${FRAMES}; i++) {
    slider.value = String(Math.round((Number(slider.max) * i) / ${FRAMES}));
    const before = performance.now();
    slider.dispatchEvent(new Event('input'));
    script += performance.now() - before;
    const time = await new Promise((done) => requestAnimationFrame(() => done(performance.now())));
    script += time - document.timeline.currentTime;
    times.push(time);
  }
  return { times, script: script / ${FRAMES + 1} };
})()`;
