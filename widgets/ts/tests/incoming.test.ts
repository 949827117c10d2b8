import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { EmptyText, type LiveText } from "../src/live.ts";
import { Room } from "../src/room.ts";
import { FakeServer } from "./fake_server.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

async function join(server: FakeServer): Promise<{ room: Room; dialer: ReturnType<FakeServer["dialer"]> }> {
  const dialer = server.dialer();
  const room = new Room("test", [dialer]);
  await room.ready;
  return { room, dialer };
}

/** Let everything arrive, and whoever is away come back. */
async function settle(server: FakeServer): Promise<void> {
  for (let i = 0; i < 5; i++) {
    await vi.advanceTimersByTimeAsync(10_000);
    server.flush();
  }
}

describe("a resync", () => {
  it("is asked for again when the line breaks before its snapshot came", async () => {
    const server = new FakeServer();
    const { room } = await join(server);
    room.root.set("k", "good");
    await settle(server);
    server.isRefused = () => true;
    server.lostResyncsCount = 2;
    room.root.set("k", "refused");
    await settle(server);
    expect(server.hellos.length).toBe(3);
    expect(room.toJSON()).toEqual({ k: "good" });
    expect(server.lostResyncsCount).toBeLessThan(0);
    room.close();
  });

  it("goes on showing, and editing, what is here until the log behind the snapshot has come as far", async () => {
    const server = new FakeServer();
    const { room } = await join(server);
    const refusals: string[] = [];
    room.onNotification((each) => each.kind === "refused" && refusals.push(each.error.code));
    room.root.set("note", new EmptyText("start"));
    await settle(server);
    const note = room.root.get("note") as LiveText;
    server.snapshotSeq = server.head;
    note.insert(5, " and more");
    await settle(server);
    server.isLogLate = true;
    room.replica.requestResync();
    note.insert(note.length, ", typed");
    await vi.advanceTimersByTimeAsync(100);
    expect(server.resyncsCount).toBe(1);
    expect(String(note)).toBe("start and more, typed");
    note.insert(note.length, " on");
    await vi.advanceTimersByTimeAsync(100);
    await settle(server);
    expect(refusals).toEqual([]);
    expect(room.toJSON()).toEqual({ note: "start and more, typed on" });
    expect(server.tree.toJSON()).toEqual(room.toJSON());
    expect(server.resyncsCount).toBe(1);
    room.close();
  });

  it("starts again when the line breaks between a snapshot and the log behind it", async () => {
    const server = new FakeServer();
    const { room, dialer } = await join(server);
    const { room: bob } = await join(server);
    room.root.set("k", 1);
    await settle(server);
    server.isRefused = ({ ops }) => ops.some((op) => "key" in op.body && op.body.key === "bad");
    server.isLogLate = true;
    room.root.set("bad", 2);
    await vi.advanceTimersByTimeAsync(1);
    dialer.last?.close("cut");
    bob.root.set("k", 3);
    expect(room.toJSON()).toEqual({ k: 1, bad: 2 });
    await settle(server);
    expect(server.resyncsCount).toBe(2);
    expect(room.toJSON()).toEqual({ k: 3 });
    room.close();
    bob.close();
  });

  it("shows what was here until the state of a restored server is", async () => {
    for (const keptCount of [1, 0]) {
      const server = new FakeServer();
      const { room: ann } = await join(server);
      const { room: bob, dialer } = await join(server);
      const shown: unknown[] = [];
      ann.root.set("kept", 1);
      ann.root.set("lost", 2);
      await settle(server);
      bob.onNotification(() => shown.push(bob.toJSON()));
      server.isLogLate = true;
      server.restore(keptCount);
      dialer.last?.close("the server restarts");
      await vi.advanceTimersByTimeAsync(1000);
      expect(bob.toJSON()).toEqual(keptCount === 1 ? { kept: 1, lost: 2 } : {});
      await settle(server);
      expect(bob.toJSON()).toEqual(server.tree.toJSON());
      if (keptCount === 1) expect(shown).not.toContainEqual({});
      bob.root.set("after", 3);
      await settle(server);
      expect(server.tree.toJSON()).toEqual(bob.toJSON());
      ann.close();
      bob.close();
    }
  });

  it("is due when something is missing in the log", async () => {
    const server = new FakeServer();
    const { room, dialer } = await join(server);
    const { room: bob } = await join(server);
    for (const n of [1, 2, 3]) bob.root.set(`k${n}`, n);
    await vi.advanceTimersByTimeAsync(1);
    if (dialer.last) dialer.last.cursor = 1;
    await settle(server);
    expect(server.resyncsCount).toBe(1);
    expect(room.toJSON()).toEqual({ k1: 1, k2: 2, k3: 3 });
    room.close();
    bob.close();
  });
});

const WHATS = ["type", "erase", "push", "set", "resync", "one", "hold", "release", "flush", "cut", "lower", "refused"] as const;
type Step = [who: number, what: (typeof WHATS)[number], n: number];

function take(server: FakeServer, { room, dialer }: Awaited<ReturnType<typeof join>>, [, what, n]: Step): void {
  const text = room.text("text");
  if (what === "type") text.insert(n % (text.length + 1), "x");
  else if (what === "erase" && text.length > 0) text.splice(n % text.length, 1, "");
  else if (what === "push") room.list("list").push(n);
  else if (what === "set") room.root.set(`k${n % 3}`, n);
  else if (what === "refused") {
    room.transact(() => {
      room.root.set("bad", n);
      text.insert(0, "bad");
    });
  } else if (what === "resync") {
    server.snapshotSeq = n % (server.head + 1);
    room.replica.requestResync();
  } else if (what === "one") dialer.last?.releaseOne();
  else if (what === "hold" && dialer.last) dialer.last.held ??= [];
  else if (what === "release") dialer.last?.release();
  else if (what === "flush") server.flush();
  else if (what === "cut") dialer.last?.close("cut");
  else if (what === "lower") server.lowerBy = BigInt(n % 2) << 30n;
}

/** Of some kinds alone, so that what they do together comes about often. */
const steps: fc.Arbitrary<Step[]> = fc
  .subarray([...WHATS], { minLength: 2 })
  .chain((whats) => {
    const what = fc.oneof(fc.constant("type" as const), fc.constantFrom(...whats));
    return fc.array(fc.tuple(fc.nat(1), what, fc.nat(1000)), { minLength: 10, maxLength: 60, size: "max" });
  });

it("comes to the server's state with all that was typed, whatever is asked for, lost or late", async () => {
  await fc.assert(
    fc.asyncProperty(steps, fc.boolean(), async (taken, isLogLate) => {
      const server = new FakeServer();
      server.isLogLate = isLogLate;
      server.nowMs = Date.now();
      server.isRefused = ({ ops }) => ops.some((op) => "key" in op.body && op.body.key === "bad");
      const peers = [await join(server), await join(server)] as const;
      const refusals: string[] = [];
      for (const { room } of peers) room.onNotification((each) => each.kind === "refused" && refusals.push(each.error.message));
      for (const each of taken) {
        take(server, peers[each[0] as 0 | 1], each);
        await vi.advanceTimersByTimeAsync(each[2] % 30);
      }
      for (const { dialer } of peers) dialer.last?.release();
      await settle(server);
      for (const { room } of peers) {
        expect(room.status.pendingCount).toBe(0);
        expect(room.toJSON()).toEqual(server.tree.toJSON());
      }
      const whats = taken.map(([, what]) => what);
      if (!whats.includes("refused")) {
        expect(refusals).toEqual([]);
        if (!whats.includes("erase")) expect(peers[0].room.text("text").length).toBe(whats.filter((what) => what === "type").length);
      }
      for (const { room } of peers) room.close();
    }),
    { numRuns: 100 },
  );
}, 120_000);
