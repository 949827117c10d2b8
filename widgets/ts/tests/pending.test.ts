import { expect, it } from "vitest";
import { EmptyText, type LiveText } from "../src/live.ts";
import { Room } from "../src/room.ts";
import { FakeServer } from "./fake_server.ts";

async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

async function join(frameBytes: number): Promise<{ server: FakeServer; room: Room }> {
  const server = new FakeServer();
  server.limits = { ...server.limits, frameBytes };
  const room = new Room("test", [server.dialer()]);
  await room.ready;
  return { server, room };
}

it("sends what was edited together in frames that the server reads", async () => {
  const { server, room } = await join(4000);
  for (let n = 0; n < 40; n++) room.root.set(`key ${n}`, "x".repeat(900));
  for (let n = 0; n < 200; n++) room.root.set("small", n);
  await settle();
  expect(Math.max(...server.frameSizes)).toBeLessThanOrEqual(4000);
  expect(server.frameSizes.length).toBeLessThan(25);
  expect(room.status.pendingCount).toBe(0);
  expect(server.tree.toJSON()).toEqual(room.toJSON());
  room.close();
});

it("refuses a batch that no frame holds, and changes nothing", async () => {
  const { server, room } = await join(4000);
  room.root.set("note", new EmptyText("start"));
  const note = room.root.get("note") as LiveText;
  const before = room.toJSON();
  const attempt = (): void =>
    room.transact(() => {
      note.insert(5, " typed");
      for (let n = 0; n < 5; n++) room.root.set(`key ${n}`, "x".repeat(900));
    });
  expect(attempt).toThrow(expect.objectContaining({ code: "too-large" }));
  expect(() => note.insert(0, "y".repeat(3990))).toThrow(expect.objectContaining({ code: "too-large" }));
  expect(room.toJSON()).toEqual(before);
  room.root.set("after", 1);
  note.insert(5, " again");
  await settle();
  expect(room.status.pendingCount).toBe(0);
  expect(server.tree.toJSON()).toEqual({ after: 1, note: "start again" });
  room.close();
});

it("leaves an edit of a text out that is too large, when its batch goes on without it", async () => {
  const { server, room } = await join(4000);
  room.root.set("note", new EmptyText("start"));
  const note = room.root.get("note") as LiveText;
  room.transact(() => {
    expect(() => note.insert(0, "y".repeat(3990))).toThrow(expect.objectContaining({ code: "too-large" }));
    note.insert(5, " again");
  });
  await settle();
  expect(server.tree.toJSON()).toEqual({ note: "start again" });
  expect(room.toJSON()).toEqual(server.tree.toJSON());
  room.close();
});
