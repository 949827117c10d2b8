import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { HybridClock } from "../src/clock.ts";
import { EmptyText, type LiveText } from "../src/live.ts";
import { Room } from "../src/room.ts";
import type { Envelope } from "../src/wire/messages.ts";
import { FakeServer } from "./fake_server.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const HOUR_MS = 3_600_000;
const at = (ms: number): bigint => BigInt(ms) << 16n;
const envelope = (hlc: bigint): Envelope => ({ counter: 1, base: 0, hlc, ops: [{ targetSite: 0, targetCounter: 0, kind: "mapDelete", body: { key: "k" } }] });

it("stamps on from the log once all that ran ahead is answered, and not before", () => {
  const clock = new HybridClock();
  clock.setServerTime(1000, 1000);
  expect([clock.take(9000, 1), clock.take(9000, 1)]).toEqual([at(9000), at(9000) + 1n]);
  clock.answered(envelope(at(3000)), true, false, 9000);
  expect(clock.take(9000, 1)).toBe(at(9000) + 2n);
  clock.answered(envelope(at(3000) + 1n), true, false, 9000);
  clock.answered(envelope(at(3000) + 2n), true, true, 9000);
  expect(clock.take(9000, 1)).toBe(at(3000) + 3n);
  expect(clock.take(9500, 1)).toBe(at(3500));
});

it("does not come down below what the log has", () => {
  const clock = new HybridClock();
  clock.observe(at(5000));
  clock.answered(envelope(at(3000)), true, true, 9000);
  expect(clock.take(9000, 1)).toBe(at(5000) + 1n);
});

async function settle(server: FakeServer): Promise<void> {
  await vi.advanceTimersByTimeAsync(1000);
  server.flush();
  await vi.advanceTimersByTimeAsync(1000);
}

it("comes down after the local clock was set forward, and asks for no resync for typing", async () => {
  const server = new FakeServer();
  server.nowMs = Date.now();
  const room = new Room("test", [server.dialer()]);
  await room.ready;
  room.root.set("note", new EmptyText("start"));
  await settle(server);
  vi.setSystemTime(Date.now() + HOUR_MS);
  server.stampMax = at(server.nowMs + 4000);
  const note = room.root.get("note") as LiveText;
  note.insert(5, " a");
  await settle(server);
  expect(server.log.at(-1)?.envelope.hlc).toBe(server.stampMax);
  server.stampMax = at(server.nowMs + 60_000);
  note.insert(7, " b");
  await settle(server);
  expect(server.log.at(-1)?.envelope.hlc).toBeLessThan(server.stampMax);
  expect(server.resyncsCount).toBe(0);
  expect(server.tree.toJSON()).toEqual({ note: "start a b" });
  expect(room.toJSON()).toEqual(server.tree.toJSON());
  room.close();
});

it("asks for a resync when a lowered stamp may decide something", async () => {
  const server = new FakeServer();
  const room = new Room("test", [server.dialer()]);
  await room.ready;
  server.lowerBy = 1n << 40n;
  room.root.set("k", 1);
  await settle(server);
  expect(server.resyncsCount).toBe(1);
  room.close();
});
