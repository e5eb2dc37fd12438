// What a reader has chosen to highlight, in a form that applies to other call trees, too.

import type { CallTree } from '../calltree.ts';

export type Choice =
  /** A box of the graph: functions from the outermost caller on. */
  | { path: readonly string[] }
  /** A row of the table: this function, wherever it is called. */
  | { function: string }
  /** All functions with these letters in their names. */
  | { match: string };

export function choiceOf(tree: CallTree, node: number): Choice | undefined {
  if (node === 0) return undefined;
  return { path: tree.pathOf(node).map((each) => tree.nameOf(each)) };
}

/** The node with a path; undefined if the tree has none. */
export function nodeOf(tree: CallTree, path: readonly string[]): number | undefined {
  let node: number | undefined = 0;
  for (const name of path)
    if (node !== undefined)
      node = tree.children[node]?.find((child) => tree.nameOf(child) === name);
  return node;
}

/** True for the nodes that a choice names; their callees count as chosen, too. */
export function isChosen(tree: CallTree, choice: Choice): (node: number) => boolean {
  if ('path' in choice) {
    const wanted = nodeOf(tree, choice.path);
    return (node) => node === wanted;
  }
  if ('function' in choice) return (node) => tree.nameOf(node) === choice.function;
  return matcher(tree, choice.match);
}

export function matcher(tree: CallTree, letters: string): (node: number) => boolean {
  const wanted = letters.toLowerCase();
  const found = tree.functions.map(
    ({ name, place }, i) => i > 0 && `${name} (${place})`.toLowerCase().includes(wanted),
  );
  return (node) => node > 0 && found[tree.function[node] as number] === true;
}

export function describeChoice(choice: Choice): string {
  if ('path' in choice) return choice.path.at(-1) ?? '';
  return 'function' in choice ? choice.function : `matches of “${choice.match}”`;
}
