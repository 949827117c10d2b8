import { expect, it } from "vitest";
import { Room } from "../src/room.ts";
import { LiveTree } from "../src/tree.ts";
import { clientMessage, roomState } from "../src/wire/codec.ts";
import { Slot, type Op } from "../src/wire/messages.ts";
import { EMPTY_STATE, FakeServer } from "./fake_server.ts";

const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};

const BODY = { targetSite: 0, targetCounter: 4242 };
const BLOCK = { site: 99, counter: 2 };
const ON_BLOCK = { targetSite: BLOCK.site, targetCounter: BLOCK.counter };
const EDITS: Op[] = [
  { targetSite: 0, targetCounter: 0, kind: "newDocument", body: { name: "body" } },
  { ...BODY, kind: "blockInsert", body: { slot: Slot.CHILD, key: "xaV", type: "paragraph" } },
  { ...ON_BLOCK, kind: "mapSet", body: { key: "level", value: { kind: "integer", body: 2 } } },
  { ...ON_BLOCK, kind: "textEdit", body: { update: new Uint8Array([1, 2, 3]) } },
  { ...ON_BLOCK, kind: "blockMove", body: { parent: { site: 0, counter: 4242 }, slot: Slot.INLINE, key: "xbV" } },
  { ...BODY, kind: "blockRekey", body: { slot: Slot.CHILD, keys: [{ block: BLOCK, key: "a" }] } },
  { ...ON_BLOCK, kind: "blockDelete", body: {} },
];

it("goes on beside a document that it does not show", async () => {
  const server = new FakeServer();
  const asked: string[] = [];
  const dialer = server.dialer();
  const room = new Room("test", [
    {
      ...dialer,
      open(handlers) {
        const channel = dialer.open(handlers);
        return {
          ...channel,
          send(frame) {
            asked.push(clientMessage.decode(frame).kind);
            channel.send(frame);
          },
        };
      },
    },
  ]);
  await room.ready;
  room.list("tasks").push("before");
  await settle();

  server.store(99, { counter: 1, base: 0, hlc: 1n, ops: EDITS });
  for (const session of server.sessions) session.catchUp();
  room.list("tasks").push("after");
  await settle();
  server.flush();

  expect(room.toJSON()).toEqual({ tasks: ["before", "after"] });
  expect(server.tree.toJSON()).toEqual(room.toJSON());
  expect(room.status.pendingCount).toBe(0);
  expect(room.replica.hello()).toMatchObject({ resume: { through: server.head } });
  expect(asked).not.toContain("resync");
});

it("takes a snapshot with a document, and passes over what is on its blocks", () => {
  const state = { ...roomState.decode(EMPTY_STATE), tree: new Uint8Array([1]), blocks: [new Uint8Array([2])] };
  const tree = LiveTree.restore(roomState.decode(roomState.encode(state)), 7);

  expect(tree.apply({ site: 99, counter: 9 }, { hlc: 9n, site: 99 }, EDITS[2] as Op)).toBeUndefined();
  expect(() => LiveTree.restore(roomState.decode(EMPTY_STATE), 7).apply({ site: 99, counter: 9 }, { hlc: 9n, site: 99 }, EDITS[2] as Op)).toThrow("no container");
});
