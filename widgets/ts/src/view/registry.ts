/** One connection a room and page, however many widgets show it. */

import { webSocketDialer, type Dialer } from "../connection.ts";
import { Room } from "../room.ts";
import { CommPool, sameServerUrl, type Model } from "./comm.ts";

interface Entry {
  readonly room: Room;
  readonly comms: CommPool;
  refsCount: number;
  /** Of the view that was the last one to go. */
  lastModel: Model | undefined;
  closeTimer: ReturnType<typeof setTimeout> | undefined;
}

/** A re-rendered cell lets go of its room and takes it up again. How often to look then whether all is sent, too. */
const LINGER_MS = 3000;

// Every widget evaluates its own copy of this module; what they share lives on the page. The number changes with the
// shape of Entry, so that widgets of two versions on one page do not meet.
const REGISTRY = Symbol.for("collabkernel.rooms.2");

function registry(): Map<string, Entry> {
  const page = globalThis as { [REGISTRY]?: Map<string, Entry> };
  return (page[REGISTRY] ??= new Map());
}

/** The room that a widget shows, and how to let go of it. */
export function acquireRoom(model: Model): { room: Room; release: () => void } {
  const key = String(model.get("_room_key"));
  const entries = registry();
  let entry = entries.get(key);
  // One that is closed, because its room was deleted, does not come back: a cell that is run again joins anew.
  if (entry === undefined || entry.room.status.state === "closed") {
    const comms = new CommPool();
    comms.add(model);
    entry = { room: new Room("collabkernel-view/1", dialers(model, comms)), comms, refsCount: 0, lastModel: undefined, closeTimer: undefined };
    entries.set(key, entry);
  } else entry.comms.add(model);
  const held = entry;
  held.refsCount += 1;
  clearTimeout(held.closeTimer);
  if (held.lastModel !== undefined) held.comms.remove(held.lastModel);
  held.lastModel = undefined;
  return { room: held.room, release: () => letGo(key, held, model) };
}

function letGo(key: string, entry: Entry, model: Model): void {
  entry.refsCount -= 1;
  if (entry.refsCount > 0) {
    entry.comms.remove(model);
    return;
  }
  entry.lastModel = model; // its kernel may be the one way to the server
  entry.closeTimer = setTimeout(() => closeWhenSent(key, entry), LINGER_MS);
}

/** Close a room that nobody looks at; not before its edits are stored, for the header said that they are kept here. */
function closeWhenSent(key: string, entry: Entry): void {
  const { state, pendingCount } = entry.room.status;
  if (state !== "closed" && pendingCount > 0) {
    entry.closeTimer = setTimeout(() => closeWhenSent(key, entry), LINGER_MS);
    return;
  }
  if (registry().get(key) === entry) registry().delete(key);
  entry.room.close();
}

/** The page's own cookie first, for it needs no kernel; then a ticket of the kernel; then the kernel itself. */
function dialers(model: Model, comms: CommPool): Dialer[] {
  const ways: Dialer[] = [];
  const path = String(model.get("_socket_path") ?? "");
  const url = path === "" ? undefined : sameServerUrl(path);
  if (url !== undefined) ways.push(webSocketDialer("socket", url));
  if (model.get("_has_socket") === true) ways.push(webSocketDialer("socket", () => comms.ticketUrl()));
  ways.push(comms.relayDialer());
  return ways;
}
