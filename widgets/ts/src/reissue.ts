/** Edits of a site that is no more, made again under a new one. */

import { keyOf, type IdKey, type OpId } from "./ids.ts";
import type { Envelope, Op } from "./wire/messages.ts";

/** An envelope that its site can send no more. */
export interface Orphan {
  readonly site: number;
  readonly envelope: Envelope;
}

/**
 * The same edits with the ids that they get under the new site; their stamps stay, so that an old edit does not beat a
 * newer one.
 *
 * Edits of texts are left out: their bytes carry the old site's Yjs clocks, which nobody else has.
 */
export function reissue(orphans: readonly Orphan[], site: number, nextCounter: number): { envelopes: Envelope[]; isTextLost: boolean } {
  const newByOld = new Map<IdKey, OpId>();
  const rename = (id: OpId): OpId => newByOld.get(keyOf(id)) ?? id;
  const envelopes: Envelope[] = [];
  let isTextLost = false;
  for (const { site: oldSite, envelope } of orphans) {
    const counter = nextCounter;
    const ops: Op[] = [];
    envelope.ops.forEach((op, i) => {
      if (op.kind === "textEdit") {
        isTextLost = true;
        return;
      }
      ops.push(renamed(op, rename));
      newByOld.set(keyOf({ site: oldSite, counter: envelope.counter + i }), { site, counter: nextCounter++ });
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
