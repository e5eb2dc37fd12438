// Shows beside the pointer what is under it. Screen readers get the same from the line below the map.

import { element } from './elements.ts';

const APART = 14; // pixels from the pointer

export class Tooltip {
  readonly #box = element('div', { class: 'tip', 'aria-hidden': 'true', hidden: '' });

  constructor() {
    document.body.append(this.#box);
  }

  /** Shows lines at the pointer; the first is the title. For touch the line below the map suffices. */
  show({ clientX, clientY, pointerType }: PointerEvent, lines: readonly string[]): void {
    if (pointerType === 'touch' || lines.length === 0) {
      this.hide();
      return;
    }
    this.#box.replaceChildren(...lines.map((line) => element('div', {}, line)));
    this.#box.hidden = false;
    const { width, height } = this.#box.getBoundingClientRect();
    const right = clientX + APART + width > innerWidth;
    const below = clientY + APART + height > innerHeight;
    const left = right ? Math.max(0, clientX - APART - width) : clientX + APART;
    const top = below ? Math.max(0, clientY - APART - height) : clientY + APART;
    this.#box.style.transform = `translate(${left}px, ${top}px)`;
  }

  hide(): void {
    this.#box.hidden = true;
  }
}
