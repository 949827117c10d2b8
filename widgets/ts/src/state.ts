/** The state of a tree as snapshots have it, by the order of `collabkernel/wire/state.py`: one state, one encoding. */

import { compareIds } from "./ids.ts";
import type { LiveTree, MapNode, Node } from "./tree.ts";
import { Kind, type ContainerState, type MapEntryState, type RoomState } from "./wire/messages.ts";

const NO_BYTES = new Uint8Array(0);

/**
 * @param seq The seq up to which the tree is folded.
 * @param hlc The highest HLC among the folded operations.
 */
export function toState(tree: LiveTree, seq: number, hlc: bigint): RoomState {
  const nodes = [...tree.all()].sort((a, b) => a.depth - b.depth || compareIds(a.id, b.id));
  return { seq, hlc, containers: nodes.map(containerState), blocks: [], purgedSeq: 0 };
}

function containerState(node: Node): ContainerState {
  const { id, kind, home } = node;
  const isMap = node.kind === Kind.OBJECT || node.kind === Kind.MAP;
  return {
    id,
    kind,
    ...(home && { home: home.parent }),
    homeKey: home?.key ?? "",
    ...(home?.element && { homeElement: home.element }),
    afterHlc: home?.after?.hlc ?? 0n,
    afterSite: home?.after?.site ?? 0,
    entries: isMap ? entries(node) : [],
    slots: node.kind === Kind.LIST ? node.items.slotStates() : [],
    elements: node.kind === Kind.LIST ? node.items.elementStates() : [],
    yjsState: node.kind === Kind.TEXT ? node.text.checkpoint() : NO_BYTES,
    floorHlc: isMap ? (node.floor?.hlc ?? 0n) : 0n,
    floorSite: isMap ? (node.floor?.site ?? 0) : 0,
  };
}

function entries({ entries: registers }: MapNode): MapEntryState[] {
  return [...registers]
    .sort(([a], [b]) => compareCodePoints(a, b))
    .map(([key, { stamp, value }]) => ({ key, register: value === undefined ? stamp : { ...stamp, value } }));
}

/** JavaScript compares UTF-16 units, which puts astral characters before U+E000. */
export function compareCodePoints(a: string, b: string): number {
  const left = [...a];
  const right = [...b];
  for (let i = 0; i < left.length && i < right.length; i++) {
    const difference = (left[i] as string).codePointAt(0)! - (right[i] as string).codePointAt(0)!;
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}
