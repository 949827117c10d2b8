/** Edits of a site that is no more, made again under a new one. */

import type { OpId } from "./ids.ts";
import type { Envelope, Op } from "./wire/messages.ts";

/**
 * The same edits with the ids that they get under the new site; their stamps stay.
 *
 * Edits of texts are left out: their bytes carry the old site's Yjs clocks, which nobody else has.
 */
export function reissue(old: readonly Envelope[], oldSite: number, site: number, nextCounter: number): { envelopes: Envelope[]; isTextLost: boolean } {
  const counterByOld = new Map<number, number>();
  const rename = (id: OpId): OpId => {
    const counter = id.site === oldSite ? counterByOld.get(id.counter) : undefined;
    return counter === undefined ? id : { site, counter };
  };
  const envelopes: Envelope[] = [];
  let isTextLost = false;
  for (const envelope of old) {
    const counter = nextCounter;
    const ops: Op[] = [];
    envelope.ops.forEach((op, i) => {
      if (op.kind === "textEdit") isTextLost = true;
      else {
        counterByOld.set(envelope.counter + i, nextCounter++);
        ops.push(renamed(op, rename));
      }
    });
    if (ops.length > 0) envelopes.push({ counter, base: 0, hlc: envelope.hlc, ops });
  }
  return { envelopes, isTextLost };
}

function renamed(op: Op, rename: (id: OpId) => OpId): Op {
  const target = rename({ site: op.targetSite, counter: op.targetCounter });
  const body: Record<string, unknown> = { ...op.body };
  for (const name of ["parent", "element"]) if (body[name] !== undefined) body[name] = rename(body[name] as OpId);
  return { ...op, targetSite: target.site, targetCounter: target.counter, body } as unknown as Op;
}
