import { expect, it } from "vitest";
import * as Y from "yjs";
import { TextState } from "../src/crdt/text.ts";

/** Updates of one client, one for each edit. */
function updates(client: number, ...edits: ((text: Y.Text) => void)[]): Uint8Array[] {
  const doc = new Y.Doc();
  doc.clientID = client;
  const made: Uint8Array[] = [];
  doc.on("update", (update: Uint8Array) => made.push(update));
  for (const edit of edits) edit(doc.getText("text"));
  return made;
}

const refused = expect.objectContaining({ code: "invalid-yjs-update" });

it("takes no deletion of what is not here, or it would eat what gets that clock later", () => {
  const [first, second, deletion] = updates(7, (text) => text.insert(0, "ab"), (text) => text.insert(2, "cd"), (text) => text.delete(2, 2)) as [Uint8Array, Uint8Array, Uint8Array];
  const text = new TextState(7);
  text.apply(first);
  expect(() => text.apply(deletion)).toThrow(refused);
  text.edit(2, 0, "xy");
  text.apply(updates(8, (other) => other.insert(0, "z"))[0] as Uint8Array);
  expect([...String(text)].sort().join("")).toBe("abxyz");

  const other = new TextState(9);
  for (const update of [first, second, deletion]) other.apply(update);
  expect(String(other)).toBe("ab");
});

it("takes no insert beside what is not here", () => {
  const [first] = updates(7, (text) => text.insert(0, "ab")) as [Uint8Array];
  const doc = new Y.Doc();
  doc.clientID = 8;
  Y.applyUpdate(doc, first);
  const made: Uint8Array[] = [];
  doc.on("update", (update: Uint8Array) => made.push(update));
  doc.getText("text").insert(2, "c");
  const text = new TextState(9);
  expect(() => text.apply(made[0] as Uint8Array)).toThrow(refused);
  text.apply(first);
  text.apply(made[0] as Uint8Array);
  expect(String(text)).toBe("abc");
});

it("takes back a whole checkpoint that has everything at once", () => {
  const text = new TextState(7);
  text.edit(0, 0, "abcdef");
  text.edit(2, 3, "");
  text.edit(1, 0, "x");
  const other = new TextState(8);
  other.apply(text.checkpoint());
  other.apply(text.checkpoint());
  expect(String(other)).toBe("axbf");
});
