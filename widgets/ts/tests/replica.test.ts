import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EmptyText, LiveList, LiveMap, LiveText } from "../src/live.ts";
import { Room } from "../src/room.ts";
import { FakeServer } from "./fake_server.ts";

const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};

/** Lets come about what takes so long; in many turns, since a busy machine is late with all timers at once. */
async function pause(ms: number): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve, ms / 20));
}

async function join(server: FakeServer): Promise<{ room: Room; dialer: ReturnType<FakeServer["dialer"]> }> {
  const dialer = server.dialer();
  const room = new Room("test", [dialer]);
  await room.ready;
  return { room, dialer };
}

describe("editing", () => {
  it("shows own edits at once and others' after the flush", async () => {
    const server = new FakeServer();
    const ann = (await join(server)).room;
    const bob = (await join(server)).room;
    ann.map("board").set("title", "Plan");
    ann.map("board").set("tasks", ["a", { done: false, count: 3, ratio: 0.5, big: 2n ** 60n }]);
    expect(ann.toJSON()).toEqual({ board: { title: "Plan", tasks: ["a", { done: false, count: 3, ratio: 0.5, big: 2n ** 60n }] } });
    expect(bob.toJSON()).toEqual({});
    await settle();
    server.flush();
    expect(bob.toJSON()).toEqual(ann.toJSON());
    expect(server.tree.toJSON()).toEqual(ann.toJSON());
    expect(ann.status.pendingCount).toBe(0);
  });

  it("gives two who make the same shared container the same one", async () => {
    const server = new FakeServer();
    const ann = (await join(server)).room;
    const bob = (await join(server)).room;
    ann.list("tasks").push("from ann");
    bob.list("tasks").push("from bob");
    await settle();
    server.flush();
    expect([...ann.list("tasks")].sort()).toEqual(["from ann", "from bob"]);
    expect(ann.toJSON()).toEqual(bob.toJSON());
  });

  it("takes back a whole batch that throws", async () => {
    const server = new FakeServer();
    const { room } = await join(server);
    const list = room.list("tasks");
    for (const name of ["a", "b", "c"]) list.push(name);
    room.root.set("note", new EmptyText("hello"));
    const before = room.toJSON();
    const attempt = (): void =>
      room.transact(() => {
        list.move(0, 2);
        list.set(0, "changed");
        list.delete(1);
        list.insert(1, { nested: [1, 2] });
        (room.root.get("note") as LiveText).insert(5, " world");
        room.root.set("x", 1);
        room.root.delete("note");
        throw new Error("no");
      });
    expect(attempt).toThrow("no");
    expect(room.toJSON()).toEqual(before);
    await settle();
    server.flush();
    expect(server.tree.toJSON()).toEqual(before);
  });

  it("rolls an edit back that the server refuses, and keeps the ones around it", async () => {
    const server = new FakeServer();
    const { room } = await join(server);
    const refusals: string[] = [];
    room.onNotification((each) => each.kind === "refused" && refusals.push(each.error.code));
    server.isRefused = ({ ops }) => ops.some((op) => "key" in op.body && op.body.key === "bad");
    room.root.set("good", 1);
    room.root.set("bad", 2);
    room.root.set("fine", 3);
    room.root.set("note", new EmptyText("x"));
    await settle();
    server.flush();
    await settle();
    expect(refusals).toEqual(["invalid-operation"]);
    expect(room.toJSON()).toEqual({ good: 1, fine: 3, note: "x" });
    expect(server.tree.toJSON()).toEqual(room.toJSON());
  });

  it("forgets typing that follows a refused edit of the same text, and goes on typing", async () => {
    const server = new FakeServer();
    const { room } = await join(server);
    room.root.set("note", new EmptyText("start"));
    await settle();
    server.flush();
    const note = room.root.get("note") as LiveText;
    let count = 0;
    server.isRefused = () => count++ === 0;
    note.insert(5, " refused");
    note.insert(note.length, " lost");
    await settle();
    server.flush();
    await settle();
    expect(String(note)).toBe("start");
    note.insert(5, " again");
    await settle();
    server.flush();
    expect(String(note)).toBe("start again");
    expect(server.tree.toJSON()).toEqual(room.toJSON());
  });

  it("sends again from the one that was refused for now", async () => {
    const server = new FakeServer();
    const { room } = await join(server);
    server.ratedCount = 2;
    for (let i = 0; i < 5; i++) room.root.set(`k${i}`, i);
    await settle();
    await pause(20);
    server.flush();
    expect(room.status.pendingCount).toBe(0);
    expect(server.tree.toJSON()).toEqual({ k0: 0, k1: 1, k2: 2, k3: 3, k4: 4 });
  });

  it("takes the stamps that the server lowered", async () => {
    const server = new FakeServer();
    const ahead = (await join(server)).room;
    const other = (await join(server)).room;
    other.root.set("x", "other's");
    await settle();
    server.lowerBy = 1n << 40n;
    ahead.root.set("x", "ahead's");
    await settle();
    server.lowerBy = 0n;
    server.flush();
    await settle();
    expect(ahead.toJSON()).toEqual({ x: "other's" });
    expect(other.toJSON()).toEqual({ x: "other's" });
  });

  it("refuses what a room cannot hold and changes nothing", async () => {
    const { room } = await join(new FakeServer());
    expect(() => room.root.set("x", Number.NaN)).toThrow("no finite number");
    expect(() => room.root.set("x", "\ud800")).toThrow("surrogate");
    expect(() => room.root.set("k".repeat(1025), 1)).toThrow("1025 bytes");
    expect(() => room.root.set("x", { a: { b: () => 1 } } as never)).toThrow("holds no function");
    expect(room.toJSON()).toEqual({});
  });
});

type Step =
  | { who: number; do: "edit"; n: number; at: number }
  | { who: number; do: "flush" | "hold" | "release" | "lose" };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ who: fc.nat(2), do: fc.constant("edit" as const), n: fc.nat(9), at: fc.nat(20) }) },
  { weight: 2, arbitrary: fc.record({ who: fc.nat(2), do: fc.constantFrom("flush" as const, "hold" as const, "release" as const, "lose" as const) }) },
);

function edit(room: Room, n: number, at: number): void {
  const list = room.list("list");
  const text = room.text("text");
  const place = list.length === 0 ? 0 : at % list.length;
  if (n < 3 || list.length === 0) list.insert(at % (list.length + 1), n === 0 ? { n: at } : `${room.replica.siteId}:${at}`);
  else if (n === 3) list.delete(place);
  else if (n < 6) list.move(place, (at * 7) % list.length);
  else if (n === 6) list.set(place, at);
  else if (n === 7) room.map("map").set(`k${at % 3}`, at);
  else if (n === 8) room.map("map").delete(`k${at % 3}`);
  else text.splice(at % (text.length + 1), 0, String(at));
}

it("converges with delays, losses and refusals for now", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), fc.boolean(), async (steps, isSnapshotOfHead) => {
      const server = new FakeServer();
      server.isSnapshotOfHead = isSnapshotOfHead;
      const peers = [await join(server), await join(server), await join(server)];
      for (const each of steps) {
        const { room, dialer } = peers[each.who] as (typeof peers)[number];
        if (each.do === "edit") {
          edit(room, each.n, each.at);
          if (each.at === 5) server.ratedCount += 1;
        } else if (each.do === "flush") server.flush();
        else if (each.do === "hold" && dialer.last) dialer.last.held ??= [];
        else if (each.do === "release") dialer.last?.release();
        else if (each.do === "lose") dialer.last?.close("lost");
        await settle();
      }
      server.ratedCount = 0;
      for (let round = 0; round < 500; round++) {
        for (const { dialer } of peers) dialer.last?.release();
        await new Promise((resolve) => setTimeout(resolve, 1));
        server.flush();
        if (peers.every(({ room }) => room.status.state === "live" && room.status.pendingCount === 0)) break;
      }
      await settle();
      const expected = server.tree.toJSON();
      for (const { room } of peers) {
        expect(room.toJSON()).toEqual(expected);
        room.close();
      }
    }),
    { numRuns: 40 },
  );
}, 60_000);

it("reads containers as live values", async () => {
  const { room } = await join(new FakeServer());
  room.root.set("m", { l: [1] });
  const map = room.root.get("m") as LiveMap;
  const list = map.get("l") as LiveList;
  expect(list.path).toEqual(["m", "l"]);
  expect(list.isAttached).toBe(true);
  room.root.delete("m");
  expect(list.isAttached).toBe(false);
  expect(list.toJSON()).toEqual([1]);
});

describe("the connection", () => {
  it("shows the newest state alone, a few times a second, and at once on a new connection", async () => {
    const { room, dialer } = await join(new FakeServer());
    for (const n of [1, 2, 3]) room.setPresence({ n });
    expect(dialer.last?.shown).toEqual(['{"n":1}']);
    await pause(400);
    expect(dialer.last?.shown).toEqual(['{"n":1}', '{"n":3}']);
    await pause(400);
    expect(dialer.last?.shown).toHaveLength(2);

    room.setPresence({ n: 4 });
    const before = dialer.last;
    before?.close("cut");
    await pause(400);
    expect(dialer.last).not.toBe(before);
    expect(dialer.last?.shown).toEqual(['{"n":4}']);
    room.close();
  });

  it("goes on to the next way when one throws, and comes back to the first", async () => {
    const server = new FakeServer();
    let isFirstBroken = true;
    const first = server.dialer("first");
    const broken = {
      via: "first",
      open: (handlers: Parameters<typeof first.open>[0]) => {
        if (isFirstBroken) throw new Error("Cannot send");
        return first.open(handlers);
      },
    };
    const second = server.dialer("second");
    const room = new Room("test", [broken, second]);
    await room.ready;
    expect(room.status.via).toBe("second");
    isFirstBroken = false;
    room.close();

    const other = new Room("test", [broken, second]);
    await other.ready;
    expect(other.status.via).toBe("first");
    other.close();
    expect(other.status.state).toBe("closed");
    expect(() => other.root.set("x", 1)).toThrow("closed");
  });

  it("loses nothing when a channel throws in the middle of sending", async () => {
    const server = new FakeServer();
    const real = server.dialer();
    let isBroken = false;
    const dialer = {
      via: "relay",
      open: (handlers: Parameters<typeof real.open>[0]) => {
        const channel = real.open(handlers);
        return {
          close: () => channel.close(),
          send: (frame: Uint8Array<ArrayBuffer>) => {
            if (isBroken) throw new Error("Cannot send");
            channel.send(frame);
          },
        };
      },
    };
    const room = new Room("test", [dialer]);
    await room.ready;
    isBroken = true;
    room.root.set("x", 1);
    await settle();
    expect(room.status.state).toBe("offline");
    isBroken = false;
    await pause(400);
    expect(room.status.pendingCount).toBe(0);
    expect(server.tree.toJSON()).toEqual({ x: 1 });
    room.close();
  });

  it("dials once when a channel throws and then says that it is closed", async () => {
    const server = new FakeServer();
    const real = server.dialer();
    let [dialsCount, isBroken] = [0, false];
    const dialer = {
      via: "relay",
      open: (handlers: Parameters<typeof real.open>[0]) => {
        dialsCount += 1;
        const channel = real.open(handlers);
        const send = (frame: Uint8Array<ArrayBuffer>): void => {
          if (isBroken) throw new Error("Cannot send");
          channel.send(frame);
        };
        return { send, close: () => queueMicrotask(() => handlers.onClose("closed here")) };
      },
    };
    const room = new Room("test", [dialer]);
    await room.ready;
    isBroken = true;
    room.root.set("x", 1);
    await settle();
    isBroken = false;
    expect(room.status.reason).toContain("Cannot send");
    await pause(400);
    expect([dialsCount, room.status.state]).toEqual([2, "live"]);
    room.close();
  });

  it("does not come back to a room that was deleted", async () => {
    const server = new FakeServer();
    const { room, dialer } = await join(server);
    room.root.set("x", 1);
    await settle();
    const before = dialer.last;
    before?.send({ bye: { code: "room-deleted", reason: "this room was deleted", retryAfterMs: 0 } });
    await pause(400);
    expect(dialer.last).toBe(before);
    expect(room.status).toMatchObject({ state: "closed", reason: "this room was deleted" });
    expect(() => room.root.set("y", 1)).toThrow("closed");
  });

  it("joins as somebody new when the server does not know the site any more, and makes the edits again", async () => {
    const server = new FakeServer();
    const { room, dialer } = await join(server);
    room.root.set("kept", 1);
    await settle();
    server.flush();
    server.sites.clear();
    dialer.last?.close("the server restarts");
    room.root.set("offline", { list: [1, 2] });
    room.list("more").push("x");
    await pause(600);
    server.flush();
    expect(room.status.state).toBe("live");
    expect(room.toJSON()).toEqual({ kept: 1, offline: { list: [1, 2] }, more: ["x"] });
    expect(server.tree.toJSON()).toEqual(room.toJSON());
    room.close();
  });

  it("does not make again what the server had stored of a lost site", async () => {
    const server = new FakeServer();
    const { room, dialer } = await join(server);
    room.root.set("list", []);
    await settle();
    server.flush();
    if (dialer.last) dialer.last.held = []; // acks are lost from here on
    room.transact(() => {
      (room.root.get("list") as LiveList).push("stored");
      room.root.set("n", 1);
    });
    await settle();
    server.sites.clear();
    dialer.last?.close("the server restarts");
    (room.root.get("list") as LiveList).push("offline");
    expect(room.status.pendingCount).toBe(2);
    await pause(600);
    server.flush();
    expect(room.toJSON()).toEqual({ list: ["stored", "offline"], n: 1 });
    expect(server.tree.toJSON()).toEqual(room.toJSON());
    expect(room.status.pendingCount).toBe(0);
    room.close();
  });

  it("sends nothing while the server is degraded, and then what it has kept", async () => {
    const server = new FakeServer();
    const { room, dialer } = await join(server);
    dialer.last?.send({ degraded: { on: true } });
    room.root.set("kept here", 1);
    await settle();
    expect(room.status).toMatchObject({ state: "live", isDegraded: true, pendingCount: 1 });
    expect(server.head).toBe(0);

    dialer.last?.send({ degraded: { on: false } });
    await settle();
    expect(room.status).toMatchObject({ isDegraded: false, pendingCount: 0 });
    expect(server.tree.toJSON()).toEqual({ "kept here": 1 });
    room.close();
  });

  it("sends again what was on its way when the server became degraded, and was never read", async () => {
    const server = new FakeServer();
    const { room, dialer } = await join(server);
    server.isAway = true;
    room.root.set("on its way", 1);
    await settle();
    dialer.last?.send({ degraded: { on: true } });
    server.isAway = false;
    dialer.last?.send({ degraded: { on: false } });
    await settle();
    expect(room.status.pendingCount).toBe(0);
    expect(server.tree.toJSON()).toEqual({ "on its way": 1 });
    room.close();
  });

  it("takes a welcome on a new connection for the end of it", async () => {
    const server = new FakeServer();
    const { room, dialer } = await join(server);
    dialer.last?.send({ degraded: { on: true } });
    room.root.set("kept here", 1);
    dialer.last?.close("the server restarts");
    await pause(600);
    expect(room.status).toMatchObject({ state: "live", isDegraded: false, pendingCount: 0 });
    expect(server.tree.toJSON()).toEqual({ "kept here": 1 });
    room.close();
  });

  it("begins its counters anew when the server was restored from a backup", async () => {
    const server = new FakeServer();
    const { room, dialer } = await join(server);
    room.root.set("old", 1);
    await settle();
    server.flush();
    for (const name of ["lost", "lost too"]) room.root.set(name, 1);
    await settle();
    server.flush();
    server.restore(1);
    dialer.last?.close("the server restarts");
    room.list("after").push("x");
    await pause(600);
    server.flush();
    expect(room.toJSON()).toEqual({ old: 1, after: ["x"] });
    expect(server.tree.toJSON()).toEqual(room.toJSON());
    expect(room.status.pendingCount).toBe(0);
    room.close();
  });

  it("comes back to what it missed alone when it has seen nothing but a snapshot", async () => {
    const server = new FakeServer();
    server.isSnapshotOfHead = true;
    const ann = (await join(server)).room;
    ann.list("tasks").push("a");
    ann.root.set("n", 1);
    await settle();
    const bob = await join(server);
    expect(bob.room.toJSON()).toEqual({ tasks: ["a"], n: 1 });
    const resets: string[] = [];
    bob.room.onNotification(({ kind }) => kind === "reset" && resets.push(kind));
    const seq = server.head;
    bob.dialer.last?.close("the network is gone");
    ann.root.set("n", 2);
    bob.room.root.set("own", 3);
    await pause(600);
    server.flush();
    const resume = server.hellos.at(-1)?.resume;
    expect(resume).toMatchObject({ through: seq, throughOp: server.opAt(seq) });
    expect(resets).toEqual([]);
    expect(bob.room.toJSON()).toEqual({ tasks: ["a"], n: 2, own: 3 });
    expect(server.tree.toJSON()).toEqual(bob.room.toJSON());
    ann.close();
    bob.room.close();
  });
});
