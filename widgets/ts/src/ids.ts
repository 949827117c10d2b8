/** Identities and stamps: who made an operation, and when. */

/** The name of an operation, and of what it made. */
export interface OpId {
  readonly site: number;
  readonly counter: number;
}

/** Total order of writes to a register: HLC first, then site. */
export interface Stamp {
  readonly hlc: bigint;
  readonly site: number;
}

/** An OpId as a map key. */
export type IdKey = string;

/** The root container of a room's live objects. */
export const ROOT: OpId = { site: 0, counter: 0 };

export function keyOf(id: OpId): IdKey {
  return `${id.site}.${id.counter}`;
}

export function sameId(a: OpId | undefined, b: OpId | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && a.site === b.site && a.counter === b.counter);
}

/** Negative when `a` comes first: by site, then counter, as Python's tuples compare. */
export function compareIds(a: OpId, b: OpId): number {
  return a.site - b.site || a.counter - b.counter;
}

export function isLater(a: Stamp, b: Stamp): boolean {
  return a.hlc > b.hlc || (a.hlc === b.hlc && a.site > b.site);
}

const FNV_OFFSET = 0xcbf29ce484222325n;
const FNV_PRIME = 0x100000001b3n;
const encoder = new TextEncoder();

/**
 * Name of the shared container at a place: site 0, counter = the low 53 bits of an FNV-1a 64 hash, at least 1.
 *
 * Source: Fowler, Noll, Vo, "The FNV Non-Cryptographic Hash Algorithm", IETF draft (2012). The same function is
 * `collabkernel.document.operations.shared_container_id`.
 */
export function sharedContainerId(target: OpId, key: string, kind: number, after: Stamp | undefined): OpId {
  let hash = FNV_OFFSET;
  const seen = after === undefined ? "0.0" : `${after.hlc}.${after.site}`;
  for (const byte of encoder.encode(`${keyOf(target)}/${kind}/${seen}/${key}`)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * FNV_PRIME);
  }
  return { site: 0, counter: Number(BigInt.asUintN(53, hash)) || 1 };
}
