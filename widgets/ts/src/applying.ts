/** What comes onto a tree: others' operations out of the log, and own ones on top of it. */

import { InvalidOperationError } from "./errors.ts";
import type { Change, LiveTree, Undo } from "./tree.ts";
import type { Envelope } from "./wire/messages.ts";

/** Apply a whole envelope or nothing; undefined when it does not fit the tree. */
export function tryApply(tree: LiveTree, site: number, { counter, hlc, ops }: Envelope): Change[] | undefined {
  const undos: Undo[] = [];
  const changes: Change[] = [];
  try {
    ops.forEach((op, i) => {
      const change = tree.apply({ site, counter: counter + i }, { hlc: hlc + BigInt(i), site }, op, ops.length > 1 ? undos : undefined);
      if (change) changes.push(change);
    });
  } catch (error) {
    if (!(error instanceof InvalidOperationError)) throw error;
    for (const undo of undos.reverse()) undo();
    return undefined;
  }
  return changes;
}

/** Whether an envelope of the log purges. */
export function isPurge({ ops }: Envelope): boolean {
  return ops.some(({ kind }) => kind === "purge");
}
