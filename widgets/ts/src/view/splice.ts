/** Texts in text areas: what a person changed as one splice, and where a caret goes when others edit. */

import type { TextStep } from "../crdt/text.ts";

export interface Splice {
  readonly index: number;
  readonly deleteCount: number;
  readonly insert: string;
}

/** The one splice that turns `before` into `after`, as small as can be; never splits a surrogate pair. */
export function spliceBetween(before: string, after: string): Splice | undefined {
  if (before === after) return undefined;
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && before[start] === after[start]) start += 1;
  if (start > 0 && isHigh(before.charCodeAt(start - 1))) start -= 1;
  let end = 0;
  while (end < shorter - start && before[before.length - 1 - end] === after[after.length - 1 - end]) end += 1;
  if (end > 0 && isLow(before.charCodeAt(before.length - end))) end -= 1;
  return { index: start, deleteCount: before.length - start - end, insert: after.slice(start, after.length - end) };
}

const isHigh = (unit: number): boolean => unit >= 0xd800 && unit < 0xdc00;
const isLow = (unit: number): boolean => unit >= 0xdc00 && unit < 0xe000;

/** Where a position goes when `steps` are applied; it stays before what is inserted right at it. */
export function movedIndex(index: number, steps: readonly TextStep[]): number {
  let at = 0;
  let moved = index;
  for (const step of steps) {
    if ("retain" in step) at += step.retain;
    else if ("insert" in step) {
      if (at < moved) moved += step.insert.length;
      at += step.insert.length;
    } else if (at < moved) moved -= Math.min(step.delete, moved - at);
  }
  return moved;
}
