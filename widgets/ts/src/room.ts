/** A room: live values, who is here, and how the connection does. */

import { Connection, type Dialer, type Status, webSocketDialer } from "./connection.ts";
import { ClosedError, CollabKernelError } from "./errors.ts";
import { ROOT, type OpId } from "./ids.ts";
import { LiveList, LiveMap, LiveText } from "./live.ts";
import { Replica, type Notification } from "./replica.ts";
import type { Plain } from "./values.ts";
import { Kind, SessionKind, type PresenceEntry } from "./wire/messages.ts";

/** Somebody in the room. */
export interface Participant {
  readonly site: number;
  readonly actor: string;
  readonly name: string;
  readonly color: string;
  readonly kind: "person" | "script" | "agent";
  readonly isMe: boolean;
  /** What he shows of himself. */
  readonly state: Record<string, unknown>;
}

const KIND_NAMES = { [SessionKind.PERSON]: "person", [SessionKind.SCRIPT]: "script", [SessionKind.AGENT]: "agent" } as const;

export class Room {
  readonly replica: Replica;
  private readonly connection: Connection;
  private readonly listeners = new Set<(notification: Notification) => void>();
  private readonly statusListeners = new Set<(status: Status) => void>();
  private readyResolve: () => void = () => {};
  /** Resolves when all that the room had is here. */
  readonly ready: Promise<void> = new Promise((resolve) => (this.readyResolve = resolve));

  constructor(client: string, dialers: readonly Dialer[]) {
    this.replica = new Replica(client);
    this.connection = new Connection(this.replica, dialers, (notifications) => this.tell(notifications));
    this.connection.start();
  }

  get status(): Status {
    return this.connection.status;
  }

  /** The room's root object. */
  get root(): LiveMap {
    return new LiveMap(this, ROOT);
  }

  map(key: string): LiveMap {
    return this.root.map(key);
  }
  object(key: string): LiveMap {
    return this.root.object(key);
  }
  list(key: string): LiveList {
    return this.root.list(key);
  }
  text(key: string): LiveText {
    return this.root.text(key);
  }

  /** The live value with this id; throws `unknown-target`. */
  at(id: OpId): LiveMap | LiveList | LiveText {
    const { kind } = this.replica.tree.node(id);
    if (kind === Kind.LIST) return new LiveList(this, id);
    if (kind === Kind.TEXT) return new LiveText(this, id);
    return new LiveMap(this, id);
  }

  toJSON(): Record<string, Plain> {
    return this.replica.tree.toJSON();
  }

  /** Everything edited inside is one envelope: stored whole, shown whole, or taken back whole when `change` throws. */
  transact(change: () => void): void {
    if (this.status.state === "closed") throw new ClosedError("the room was closed");
    const notification = this.replica.transact(Date.now(), change);
    if (notification === undefined) return;
    this.connection.pump();
    this.tell([notification]);
  }

  /** Everybody in the room, oneself first, then by name. */
  get presence(): Participant[] {
    const mine = this.replica.siteId;
    return [...this.replica.presence.values()]
      .map((entry) => participant(entry, entry.site === mine))
      .sort((a, b) => Number(b.isMe) - Number(a.isMe) || a.name.localeCompare(b.name) || a.site - b.site);
  }

  /** Replace what the others see of this session. */
  setPresence(state: Record<string, unknown>): void {
    this.connection.setPresence(JSON.stringify(state));
  }

  /** Tell the others in the room now; never stored. */
  broadcast(name: string, payload: unknown): void {
    this.connection.broadcast(name, JSON.stringify(payload));
  }

  /** Call back with all that happens; returns how to stop. */
  onNotification(listener: (notification: Notification) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** Call back when the connection's status may have changed; returns how to stop. */
  onStatus(listener: (status: Status) => void): () => void {
    this.statusListeners.add(listener);
    return () => void this.statusListeners.delete(listener);
  }

  close(): void {
    this.connection.close();
  }

  private tell(notifications: readonly Notification[]): void {
    for (const notification of notifications) {
      if (notification.kind === "caughtUp") this.readyResolve();
      for (const listener of [...this.listeners]) listener(notification);
    }
    const { status } = this;
    for (const listener of [...this.statusListeners]) listener(status);
  }
}

function participant({ site, actor, name, color, kind, stateJson }: PresenceEntry, isMe: boolean): Participant {
  const state = stateJson === "" ? {} : (JSON.parse(stateJson) as Record<string, unknown>);
  return { site, actor, name: name || actor, color, kind: KIND_NAMES[kind], isMe, state };
}

export interface ConnectOptions {
  /** The room's WebSocket, such as `wss://host/base/collabkernel/api/rooms/planning/ws`; or a way to get it each time. */
  readonly url: string | (() => Promise<string>);
  /** Name and version of the program, for the server's operators. */
  readonly client?: string;
}

/** Join a room; resolves when all that it had is here. Rejects when the server refuses, not when it is away. */
export async function connect({ url, client = "collabkernel-js" }: ConnectOptions): Promise<Room> {
  const room = new Room(client, [webSocketDialer("socket", url)]);
  const refused = new Promise<never>((_, reject) => {
    room.onNotification((notification) => {
      if (notification.kind === "bye" && notification.retryAfterMs === 0) reject(new CollabKernelError(notification.code, notification.reason));
    });
  });
  refused.catch(() => {});
  await Promise.race([room.ready, refused]);
  return room;
}
