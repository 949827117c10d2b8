import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ChannelHandlers } from "../src/connection.ts";
import { compareIds, type OpId } from "../src/ids.ts";
import { Room } from "../src/room.ts";
import type { ListNode, MapNode } from "../src/tree.ts";
import { Kind, type IdRun, type Op } from "../src/wire/messages.ts";
import { FakeServer } from "./fake_server.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Let everything arrive, and whoever is away come back if he can. */
async function settle(server: FakeServer): Promise<void> {
  for (let i = 0; i < 12; i++) {
    await vi.advanceTimersByTimeAsync(10_000);
    server.flush();
  }
}

/** A way to the server that may be cut. */
function wire(server: FakeServer) {
  const real = server.dialer();
  let isCut = false;
  return {
    via: "socket",
    open(handlers: ChannelHandlers) {
      if (!isCut) return real.open(handlers);
      queueMicrotask(() => handlers.onClose("cut"));
      return { send: () => {}, close: () => {} };
    },
    cut() {
      isCut = true;
      real.last?.close("cut");
    },
    mend() {
      isCut = false;
    },
    get isCut() {
      return isCut;
    },
  };
}

async function join(server: FakeServer): Promise<{ room: Room; dialer: ReturnType<typeof wire> }> {
  const dialer = wire(server);
  const room = new Room("test", [dialer]);
  await settle(server);
  return { room, dialer };
}

function runs(ids: readonly OpId[]): IdRun[] {
  const made: IdRun[] = [];
  for (const { site, counter } of [...ids].sort(compareIds)) {
    const last = made.at(-1);
    if (last?.site === site && last.counter + last.more + 1 === counter) made[made.length - 1] = { ...last, more: last.more + 1 };
    else made.push({ site, counter, more: 0 });
  }
  return made;
}

/** Purge all that is dead in the lists and maps of the server, one operation each. */
function purgeAll(server: FakeServer): void {
  for (const node of [...server.tree.all()]) {
    const on = { targetSite: node.id.site, targetCounter: node.id.counter, kind: "purge" } as const;
    if (node.kind === Kind.LIST) {
      const live = new Set(elementsOf(node).flatMap(({ id, slot }) => (slot === undefined ? [] : [id.counter, slot.counter].map((c, i) => `${(i === 0 ? id : slot).site}.${c}`))));
      const dead = node.items.slotStates().map(({ id }) => id).filter(({ site, counter }) => !live.has(`${site}.${counter}`));
      if (dead.length > 0) purge(server, { ...on, body: { runs: runs(dead), floorHlc: 0n, floorSite: 0 } });
    } else if (node.kind === Kind.OBJECT || node.kind === Kind.MAP) {
      const stamps = [...node.entries.values()].filter(({ value }) => value === undefined).map(({ stamp }) => stamp);
      const floor = stamps.reduce((a, b) => (a.hlc > b.hlc ? a : b), { hlc: 0n, site: 0 });
      if (floor.site > 0) purge(server, { ...on, body: { runs: [], floorHlc: floor.hlc, floorSite: floor.site } });
    }
  }
}

const purge = (server: FakeServer, op: Extract<Op, { kind: "purge" }>): void => server.purge(op);
const elementsOf = (node: ListNode) => node.items.elementStates();

function listOf(room: Room, name: string): ListNode {
  return [...room.replica.tree.all()].find(({ kind, home }) => kind === Kind.LIST && home?.key === name) as ListNode;
}

describe("a purge", () => {
  it("takes dead slots, and edits go on", async () => {
    const server = new FakeServer();
    const { room: ann } = await join(server);
    const { room: bob } = await join(server);
    for (let n = 0; n < 20; n++) ann.list("l").push(n);
    for (let n = 0; n < 15; n++) ann.list("l").delete(2);
    await settle(server);
    purgeAll(server);
    await settle(server);
    expect(listOf(bob, "l").items.slotStates().length).toBe(5);
    bob.list("l").insert(2, "x");
    await settle(server);
    expect(ann.toJSON()).toEqual({ l: [0, 1, "x", 17, 18, 19] });
    expect(bob.toJSON()).toEqual(ann.toJSON());
  });

  it("makes an edit from offline that hangs from what is gone again where it stood", async () => {
    for (const isSnapshot of [false, true]) {
      const server = new FakeServer();
      const { room: ann } = await join(server);
      const { room: bob, dialer } = await join(server);
      for (const name of "abcdefgh") ann.list("l").push(name);
      await settle(server);
      dialer.cut();
      bob.list("l").insert(5, "E1");
      bob.list("l").insert(6, "E2");
      bob.transact(() => {
        bob.list("l").insert(3, "C1");
        bob.list("l").insert(4, "C2");
      });
      for (let n = 0; n < 5; n++) ann.list("l").delete(2);
      await settle(server);
      purgeAll(server);
      server.isSnapshotOfHead = isSnapshot;
      if (isSnapshot) bob.replica.requestResync();
      dialer.mend();
      await settle(server);
      expect(ann.toJSON()).toEqual({ l: ["a", "b", "C1", "C2", "E1", "E2", "h"] });
      expect(bob.toJSON()).toEqual(ann.toJSON());
      expect(bob.status.pendingCount).toBe(0);
    }
  });

  it("of blocks takes nothing here, and edits of the root that are on their way stay", async () => {
    const server = new FakeServer();
    const { room: ann } = await join(server);
    const { room: bob, dialer } = await join(server);
    ann.root.set("k", 1);
    ann.list("l").push("a");
    await settle(server);
    dialer.cut();
    bob.root.set("k", 2);
    ann.list("l").delete(0);
    await settle(server);
    purge(server, { targetSite: 0, targetCounter: 0, kind: "purge", body: { runs: [{ site: 7, counter: 3, more: 4 }], floorHlc: 0n, floorSite: 0 } });
    dialer.mend();
    await settle(server);
    expect(listOf(ann, "l").items.slotStates().length).toBe(1);
    expect(bob.toJSON()).toEqual({ k: 2, l: [] });
    expect(ann.toJSON()).toEqual(bob.toJSON());
  });

  it("has edits made again on all that was seen stored, though the server is behind", async () => {
    const server = new FakeServer();
    const { room: ann } = await join(server);
    const { room: bob, dialer } = await join(server);
    for (const name of "abcd") ann.list("l").push(name);
    await settle(server);
    dialer.cut();
    bob.list("l").push("m");
    bob.list("l").insert(2, "x");
    bob.list("l").set(5, "M");
    ann.list("l").delete(1);
    ann.list("l").delete(1);
    await settle(server);
    purgeAll(server);
    server.behind = 1;
    dialer.mend();
    await settle(server);
    expect(ann.toJSON()).toEqual({ l: ["a", "x", "d", "M"] });
    expect(bob.toJSON()).toEqual(ann.toJSON());
  });

  it("lets edits of an element that is gone come to nothing", async () => {
    const server = new FakeServer();
    const { room: ann } = await join(server);
    const { room: bob, dialer } = await join(server);
    for (const name of "abc") ann.list("l").push(name);
    await settle(server);
    dialer.cut();
    bob.transact(() => {
      bob.list("l").set(1, "B");
      bob.list("l").push("d");
    });
    ann.list("l").delete(1);
    await settle(server);
    purgeAll(server);
    dialer.mend();
    await settle(server);
    expect(ann.toJSON()).toEqual({ l: ["a", "c", "d"] });
    expect(bob.toJSON()).toEqual(ann.toJSON());
  });

  it("does not let an old write bring back a key whose deletion is gone, and says so", async () => {
    const server = new FakeServer();
    const { room: ann } = await join(server);
    const { room: bob, dialer } = await join(server);
    ann.map("m").set("k", 1);
    await settle(server);
    const refused: string[] = [];
    bob.onNotification((each) => void (each.kind === "refused" && refused.push(each.error.code)));
    dialer.cut();
    bob.map("m").set("k", 2);
    await vi.advanceTimersByTimeAsync(50);
    ann.map("m").delete("k");
    await settle(server);
    purgeAll(server);
    dialer.mend();
    await settle(server);
    expect(ann.toJSON()).toEqual({ m: {} });
    expect(bob.toJSON()).toEqual(ann.toJSON());
    expect(refused.length).toBeGreaterThan(0);
    expect([...server.tree.all()].filter(({ kind }) => kind === Kind.MAP).map((node) => (node as MapNode).entries.size)).toEqual([0]);
  });

  it("comes to the same for whoever edits whatever meanwhile", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(2), fc.nat(7), fc.nat()), { maxLength: 40 }), async (steps) => {
        const server = new FakeServer();
        const joined = [await join(server), await join(server), await join(server)];
        for (const [who, what, n] of steps) {
          const { room, dialer } = joined[who] as (typeof joined)[number];
          const list = room.list("l");
          if (what < 2) list.insert(n % (list.length + 1), n);
          else if (what < 4 && list.length > 0) list.delete(n % list.length);
          else if (what === 4 && list.length > 0) list.move(n % list.length, (n >> 4) % list.length);
          else if (what === 5) purgeAll(server);
          else if (what === 6) dialer.isCut ? dialer.mend() : dialer.cut();
          else await settle(server);
        }
        for (const { dialer } of joined) dialer.mend();
        await settle(server);
        for (const { room } of joined) {
          expect(room.status.pendingCount).toBe(0);
          expect(room.toJSON()).toEqual(server.tree.toJSON());
          expect(listOf(room, "l")?.items.slotStates()).toEqual((server.tree.find(listOf(room, "l")?.id ?? { site: 0, counter: 0 }) as ListNode).items?.slotStates());
        }
      }),
      { numRuns: 25 },
    );
  }, 60_000);
});
