import { readFileSync } from "node:fs";
import { describe, expect, it, test } from "vitest";
import { sharedContainerId } from "../src/ids.ts";
import { LiveTree } from "../src/tree.ts";
import { decodeServerMessage, roomState } from "../src/wire/codec.ts";
import { Kind, type RoomState, type StoredEnvelope } from "../src/wire/messages.ts";
import { toState } from "../src/state.ts";
import { hex, unhex } from "./json_form.ts";

interface Vector {
  name: string;
  frames: string[];
  orders: number[][];
  state: Record<string, unknown>;
  snapshot: string;
}

/** Integers over 53 bits are exact in the file, and must be so here. */
function exact(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value) || !/^-?\d+$/.test(context?.source ?? "")) return value;
  return BigInt(context?.source as string);
}

const path = new URL("../../../tests/conformance/vectors.json", import.meta.url);
const vectors = JSON.parse(readFileSync(path, "utf-8"), exact as (key: string, value: unknown) => unknown) as Vector[];

function apply(tree: LiveTree, { site, envelope: { counter, hlc, ops } }: StoredEnvelope): void {
  ops.forEach((op, i) => tree.apply({ site, counter: counter + i }, { hlc: hlc + BigInt(i), site }, op));
}

/** Yjs and yrs may write one text in two ways. */
function withoutTexts(state: RoomState): RoomState {
  return { ...state, containers: state.containers.map((each) => ({ ...each, yjsState: new Uint8Array() })) };
}

for (const { name, frames, orders, state, snapshot } of vectors) {
  describe(name, () => {
    const log = frames.flatMap((frame) => decodeServerMessage(unhex(frame)).ops.flatMap(({ envelopes }) => envelopes));
    const wanted = roomState.decode(unhex(snapshot));

    test("every order comes to the same state, byte by byte", () => {
      for (const order of orders) {
        const tree = new LiveTree(0);
        for (const i of order) apply(tree, log[i] as StoredEnvelope);
        expect(tree.toJSON()).toEqual(state);
        expect(hex(roomState.encode(withoutTexts(toState(tree, wanted.seq, wanted.hlc))))).toBe(hex(roomState.encode(withoutTexts(wanted))));
      }
    });

    test("the snapshot is the same state", () => {
      expect(hex(roomState.encode(wanted))).toBe(snapshot);
      const tree = LiveTree.restore(wanted, 5);
      expect(tree.toJSON()).toEqual(state);
      expect(hex(roomState.encode(withoutTexts(toState(tree, wanted.seq, wanted.hlc))))).toBe(hex(roomState.encode(withoutTexts(wanted))));
    });

    test("a snapshot in the middle and the rest come to the same state", () => {
      const half = new LiveTree(0);
      for (const stored of log.slice(0, log.length / 2)) apply(half, stored);
      const again = LiveTree.restore(roomState.decode(roomState.encode(toState(half, 1, 1n))), 5);
      for (const stored of log.slice(log.length / 2)) apply(again, stored);
      expect(again.toJSON()).toEqual(state);
    });

    test("a batch that is taken back leaves nothing behind", () => {
      // A purge is never taken back: it is in the log before it does anything.
      const tree = new LiveTree(0);
      for (const { site, envelope } of log) {
        const undos: (() => void)[] = [];
        const before = roomState.encode(withoutTexts(toState(tree, 1, 1n)));
        const attempt = (each?: (() => void)[]): void =>
          envelope.ops.forEach((op, i) => void tree.apply({ site, counter: envelope.counter + i }, { hlc: envelope.hlc + BigInt(i), site }, op, each));
        if (!envelope.ops.some(({ kind }) => kind === "purge")) attempt(undos);
        for (const undo of undos.reverse()) undo();
        expect(hex(roomState.encode(withoutTexts(toState(tree, 1, 1n))))).toBe(hex(before));
        attempt();
      }
      expect(tree.toJSON()).toEqual(state);
    });
  });
}

it("names shared containers as Python does", () => {
  // From collabkernel.document.operations.shared_container_id.
  const stamp = { hlc: (1n << 64n) - 1n, site: 2 ** 32 - 1 };
  expect(sharedContainerId({ site: 0, counter: 0 }, "tasks", Kind.LIST, undefined)).toEqual({ site: 0, counter: 7199665098661863 });
  expect(sharedContainerId({ site: 7, counter: 2 ** 53 - 1 }, "", Kind.OBJECT, stamp)).toEqual({ site: 0, counter: 1577955121869268 });
  expect(sharedContainerId({ site: 7, counter: 3 }, "Grüße 👋", Kind.TEXT, { hlc: 117637120000000000n, site: 9 })).toEqual({ site: 0, counter: 8895696363560133 });
});
