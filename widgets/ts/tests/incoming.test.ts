import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
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
});
