/** One connection a room and page, however many widgets show it. */

import { webSocketDialer, type Dialer } from "../connection.ts";
import { Room } from "../room.ts";
import { CommPool, sameServerUrl, type Model } from "./comm.ts";

interface Entry {
  readonly room: Room;
  readonly comms: CommPool;
  refsCount: number;
  closeTimer: ReturnType<typeof setTimeout> | undefined;
}

/** A re-rendered cell lets go of its room and takes it up again. */
const LINGER_MS = 3000;

// Every widget evaluates its own copy of this module; what they share lives on the page. The number changes with the
// shape of Entry, so that widgets of two versions on one page do not meet.
const REGISTRY = Symbol.for("collabkernel.rooms.1");

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
    entry = { room: new Room("collabkernel-view/1", dialers(model, comms)), comms, refsCount: 0, closeTimer: undefined };
    entries.set(key, entry);
  } else entry.comms.add(model);
  const held = entry;
  held.refsCount += 1;
  clearTimeout(held.closeTimer);
  return { room: held.room, release: () => letGo(key, held, model) };
}

function letGo(key: string, entry: Entry, model: Model): void {
  entry.refsCount -= 1;
  entry.comms.remove(model);
  if (entry.refsCount > 0) return;
  entry.closeTimer = setTimeout(() => {
    if (registry().get(key) === entry) registry().delete(key);
    entry.room.close();
  }, LINGER_MS);
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
