// Reads pictures for tests.

import { parseHTML } from 'linkedom';

/** The attributes of each element that the CSS selector names, in the order of the document. */
export function attributesIn(svg: string, selector: string): Record<string, string>[] {
  const found = [...parseHTML(svg).document.querySelectorAll(selector)];
  return found.map((each) =>
    Object.fromEntries([...each.attributes].map(({ name, value }) => [name, value])),
  );
}
