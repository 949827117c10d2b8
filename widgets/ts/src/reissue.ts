/** Edits of a site that is no more, made again under a new one. */

import { keyOf, type IdKey, type OpId } from "./ids.ts";
import type { LiveTree } from "./tree.ts";
import { Kind, Side, type Envelope, type Op } from "./wire/messages.ts";

/** An envelope that its site can send no more. */
export interface Orphan {
  readonly site: number;
  readonly envelope: Envelope;
  /** Where it had a place. */
  readonly stoodIn: LiveTree;
}

/**
 * The same edits with the ids that they get under the new site; their stamps stay, so that an old edit does not beat a
 * newer one. Apply each envelope before the next is asked for.
 *
 * Where a list's slots were purged meanwhile, an edit goes behind the nearest element that it stood behind; one of an
 * element that is gone comes to nothing. Edits of texts are left out: their bytes carry the old site's Yjs clocks, which
 * nobody else has.
 *
 * @returns Whether edits of texts were left out.
 */
export function* reissue(orphans: readonly Orphan[], site: number, nextCounter: number, now: LiveTree): Generator<Envelope, boolean> {
  const newByOld = new Map<IdKey, OpId>();
  const rename = (id: OpId): OpId => newByOld.get(keyOf(id)) ?? id;
  let isTextLost = false;
  for (const { site: oldSite, envelope, stoodIn } of orphans) {
    const counter = nextCounter;
    const ops: Op[] = [];
    envelope.ops.forEach((op, i) => {
      if (op.kind === "textEdit") {
        isTextLost = true;
        return;
      }
      const isMadeHere = (id: OpId): boolean => id.site === site && id.counter >= counter;
      const fitted = refitted(op, rename, isMadeHere, stoodIn, now);
      if (fitted === undefined) return;
      ops.push(renamed(fitted, rename));
      newByOld.set(keyOf({ site: oldSite, counter: envelope.counter + i }), { site, counter: nextCounter++ });
    });
    if (ops.length > 0) yield { counter, base: 0, hlc: envelope.hlc, ops };
  }
  return isTextLost;
}

function refitted(op: Op, rename: (id: OpId) => OpId, isMadeHere: (id: OpId) => boolean, stoodIn: LiveTree, now: LiveTree): Op | undefined {
  if (op.kind !== "listInsert" && op.kind !== "listDelete" && op.kind !== "listMove" && op.kind !== "listSet") return op;
  const target = { site: op.targetSite, counter: op.targetCounter };
  const before = stoodIn.find(target);
  const after = now.find(rename(target));
  if (before?.kind !== Kind.LIST || after?.kind !== Kind.LIST) return op;
  const isThere = (id: OpId): boolean => isMadeHere(rename(id)) || after.items.hasSlot(rename(id));
  if (op.kind !== "listInsert" && !isThere(op.body.element)) return before.items.hasSlot(op.body.element) ? undefined : op;
  if (op.kind === "listDelete" || op.kind === "listSet" || op.body.parent === undefined || isThere(op.body.parent)) return op;
  const stood = before.items.elementsBefore(op.body.parent, op.body.side);
  if (stood === undefined) return op;
  const nearest = stood.map(rename).find((id) => isMadeHere(id) || after.items.indexOf(id) >= 0);
  if (nearest !== undefined && isMadeHere(nearest)) return withPlace(op, { parent: nearest, side: Side.RIGHT });
  return withPlace(op, after.items.insertionPlace(nearest === undefined ? 0 : after.items.indexOf(nearest) + 1));
}

function withPlace(op: Extract<Op, { kind: "listInsert" | "listMove" }>, { parent, side }: { parent: OpId | undefined; side: Side }): Op {
  const { parent: _, ...body } = op.body;
  return { ...op, body: parent === undefined ? { ...body, side } : { ...body, parent, side } } as Op;
}

function renamed(op: Op, rename: (id: OpId) => OpId): Op {
  const target = rename({ site: op.targetSite, counter: op.targetCounter });
  const body: Record<string, unknown> = { ...op.body };
  for (const name of ["parent", "element"]) if (body[name] !== undefined) body[name] = rename(body[name] as OpId);
  return { ...op, targetSite: target.site, targetCounter: target.counter, body } as unknown as Op;
}
