// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { acquireRoom } from "../src/view/registry.ts";
import { FakeServer } from "./fake_server.ts";
import { KernelModel } from "./kernel_model.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

let keysCount = 0;

async function acquire(server: FakeServer, key = `key ${keysCount++}`) {
  const model = new KernelModel(server, [0, 0], key);
  const held = acquireRoom(model);
  await vi.advanceTimersByTimeAsync(10);
  return { ...held, model, key };
}

describe("a room that no view shows any more", () => {
  it("is closed after a while", async () => {
    const server = new FakeServer();
    const { room, release } = await acquire(server);
    room.root.set("k", 1);
    await vi.advanceTimersByTimeAsync(10);
    release();
    await vi.advanceTimersByTimeAsync(2900);
    expect(room.status.state).toBe("live");
    await vi.advanceTimersByTimeAsync(200);
    expect(room.status.state).toBe("closed");
    expect(server.sessions.size).toBe(0);
  });

  it("stays open until what was edited is stored, and comes back for it", async () => {
    const server = new FakeServer();
    const { room, release, model, key } = await acquire(server);
    server.isAway = true;
    room.root.set("k", 1);
    await vi.advanceTimersByTimeAsync(10);
    release();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(room.status).toMatchObject({ state: "live", pendingCount: 1 });
    model.isGone = true;
    for (const session of [...server.sessions]) session.close("the server restarts");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(room.status).toMatchObject({ state: "offline", pendingCount: 1 });
    model.isGone = false;
    server.isAway = false;
    await vi.advanceTimersByTimeAsync(20_000);
    expect(server.tree.toJSON()).toEqual({ k: 1 });
    expect(room.status.state).toBe("closed");

    const next = await acquire(server, key);
    expect(next.room).not.toBe(room);
    expect(next.room.status.state).toBe("live");
    next.release();
  });

  it("is taken up again, by the kernel of who does", async () => {
    const server = new FakeServer();
    const first = await acquire(server);
    server.isAway = true;
    first.room.root.set("k", 1);
    await vi.advanceTimersByTimeAsync(10);
    first.release();
    await vi.advanceTimersByTimeAsync(60_000);
    first.model.isGone = true;
    const second = await acquire(server, first.key);
    expect(second.room).toBe(first.room);
    for (const session of [...server.sessions]) session.close("the kernel is gone");
    server.isAway = false;
    await vi.advanceTimersByTimeAsync(20_000);
    expect(second.room.status).toMatchObject({ state: "live", pendingCount: 0 });
    expect(server.tree.toJSON()).toEqual({ k: 1 });
    second.release();
  });

  it("is closed with what is unsent when it was deleted", async () => {
    const server = new FakeServer();
    const { room, release, key } = await acquire(server);
    server.isAway = true;
    room.root.set("k", 1);
    release();
    for (const session of server.sessions) session.send({ bye: { code: "room-deleted", reason: "deleted", retryAfterMs: 0 } });
    await vi.advanceTimersByTimeAsync(4000);
    expect(room.status.state).toBe("closed");
    const next = await acquire(server, key);
    expect(next.room).not.toBe(room);
    next.release();
  });
});
