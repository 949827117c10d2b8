/** The live values of a room, as users hold them: names for containers, which read and write the replica's tree. */

import type { ListItem } from "./crdt/list.ts";
import type { TextStep } from "./crdt/text.ts";
import { DetachedError, InvalidValueError } from "./errors.ts";
import { keyOf, sameId, type OpId } from "./ids.ts";
import type { Room } from "./room.ts";
import { liveEntries, madeId, type Change, type ListNode, type MapNode, type Node, type TextNode } from "./tree.ts";
import { fromWire, isScalar, toWire, type Plain, type Scalar } from "./values.ts";
import { Kind, type NewContainer, type StoredWireValue, type WireValue } from "./wire/messages.ts";

/** What may be written: plain data, whose arrays and objects become lists and maps. */
export type Writable = Plain | EmptyText;

/** Write this to make a new text. */
export class EmptyText {
  readonly initial: string;

  constructor(initial = "") {
    this.initial = initial;
  }
}

/** What is read: a scalar, or a live container. */
export type LiveValue = Scalar | LiveMap | LiveList | LiveText;

export interface LiveEvent {
  readonly change: Change;
  readonly actor: string;
  readonly isRemote: boolean;
}

const NEW = { shared: false, afterHlc: 0n, afterSite: 0 } as const;

function containerKind(value: unknown): Kind | undefined {
  if (value instanceof EmptyText) return Kind.TEXT;
  if (Array.isArray(value)) return Kind.LIST;
  if (typeof value === "object" && value !== null && !(value instanceof Uint8Array)) return Kind.MAP;
  return undefined;
}

function wireValue(value: Writable): WireValue {
  const kind = containerKind(value);
  if (kind !== undefined) return { kind: "container", body: { ...NEW, kind } };
  if (!isScalar(value)) throw new InvalidValueError(`a room holds no ${typeof value}`);
  return toWire(value);
}

/** Fill the container that was just made for `value`. */
function fill(room: Room, id: OpId, value: Writable): void {
  const kind = containerKind(value);
  if (kind === undefined) return;
  const live = room.at(id);
  if (live instanceof LiveText) live.insert(0, (value as EmptyText).initial);
  else if (live instanceof LiveList) for (const item of value as readonly Plain[]) live.push(item);
  else if (live instanceof LiveMap) for (const [key, item] of Object.entries(value as Record<string, Plain>)) live.set(key, item);
}

abstract class Live<N extends Node> {
  readonly room: Room;
  readonly id: OpId;

  constructor(room: Room, id: OpId) {
    this.room = room;
    this.id = id;
  }

  abstract readonly kind: Kind;

  /** Whether the room's tree still shows it. */
  get isAttached(): boolean {
    return this.room.replica.tree.path(this.id) !== undefined;
  }

  /** Keys and indexes from the root; undefined when it is detached. */
  get path(): (string | number)[] | undefined {
    return this.room.replica.tree.path(this.id);
  }

  toJSON(): Plain {
    return this.room.replica.tree.toPlain({ kind: "container", body: this.id });
  }

  /** Call back after each change of this container itself, and with undefined after a reset; returns how to stop. */
  observe(callback: (event: LiveEvent | undefined) => void): () => void {
    return this.room.onNotification((notification) => {
      if (notification.kind === "reset") callback(undefined);
      if (notification.kind !== "changed") return;
      for (const change of notification.changes) {
        if (sameId(change.target, this.id)) callback({ change, actor: notification.actor, isRemote: notification.isRemote });
      }
    });
  }

  protected get node(): N {
    const node = this.room.replica.tree.find(this.id);
    if (node === undefined) throw new DetachedError(`${keyOf(this.id)} is no longer in this room`);
    return node as N;
  }

  protected read(value: StoredWireValue): LiveValue {
    return value.kind === "container" ? this.room.at(value.body) : fromWire(value);
  }
}

/** A map, or an object (the same with a fixed set of keys by habit). */
export class LiveMap extends Live<MapNode> {
  get kind(): Kind {
    return this.node.kind;
  }

  get size(): number {
    return liveEntries(this.node).length;
  }

  has(key: string): boolean {
    return this.node.entries.get(key)?.value !== undefined;
  }

  get(key: string): LiveValue | undefined {
    const value = this.node.entries.get(key)?.value;
    return value && this.read(value);
  }

  keys(): string[] {
    return liveEntries(this.node).map(([key]) => key);
  }

  /** By key. */
  entries(): [string, LiveValue][] {
    return liveEntries(this.node).map(([key, value]) => [key, this.read(value)]);
  }

  set(key: string, value: Writable): void {
    this.room.transact(() => {
      const id = this.room.replica.push(this.id, { kind: "mapSet", body: { key, value: wireValue(value) } });
      fill(this.room, id, value);
    });
  }

  delete(key: string): void {
    this.room.transact(() => void this.room.replica.push(this.id, { kind: "mapDelete", body: { key } }));
  }

  /** The container under `key`, made when there is none of that kind: two who make it at once get the same. */
  container(key: string, kind: Kind): LiveMap | LiveList | LiveText {
    const register = this.node.entries.get(key);
    const held = register?.value;
    if (held?.kind === "container" && this.room.replica.tree.node(held.body).kind === kind) return this.room.at(held.body);
    const after = register?.stamp;
    const made: NewContainer = { kind, shared: true, afterHlc: after?.hlc ?? 0n, afterSite: after?.site ?? 0 };
    this.room.transact(() => void this.room.replica.push(this.id, { kind: "mapSet", body: { key, value: { kind: "container", body: made } } }));
    return this.room.at(madeId(made, this.id, key, this.id));
  }

  map(key: string): LiveMap {
    return this.container(key, Kind.MAP) as LiveMap;
  }

  object(key: string): LiveMap {
    return this.container(key, Kind.OBJECT) as LiveMap;
  }

  list(key: string): LiveList {
    return this.container(key, Kind.LIST) as LiveList;
  }

  text(key: string): LiveText {
    return this.container(key, Kind.TEXT) as LiveText;
  }
}

export class LiveList extends Live<ListNode> {
  readonly kind = Kind.LIST;

  get length(): number {
    return this.node.items.length;
  }

  /** Throws RangeError outside 0 <= index < length. */
  get(index: number): LiveValue {
    return this.read(this.node.items.at(index).value);
  }

  *[Symbol.iterator](): Generator<LiveValue> {
    for (const { value } of this.items()) yield value;
  }

  /** Elements with their identity, which outlives moves. */
  *items(): Generator<{ element: OpId; value: LiveValue }> {
    for (const { element, value } of this.node.items.items()) yield { element, value: this.read(value) };
  }

  /** Index of an element, -1 when it is deleted. */
  indexOf(element: OpId): number {
    return this.node.items.indexOf(element);
  }

  push(value: Writable): OpId {
    return this.insert(this.length, value);
  }

  /** Returns the new element. */
  insert(index: number, value: Writable): OpId {
    let element: OpId | undefined;
    this.room.transact(() => {
      const { parent, side } = this.node.items.insertionPlace(index);
      const body = { ...(parent && { parent }), side, value: wireValue(value) };
      element = this.room.replica.push(this.id, { kind: "listInsert", body });
      fill(this.room, element, value);
    });
    return element as OpId;
  }

  set(index: number, value: Writable): void {
    this.setElement(this.item(index).element, value);
  }

  setElement(element: OpId, value: Writable): void {
    this.room.transact(() => {
      const id = this.room.replica.push(this.id, { kind: "listSet", body: { element, value: wireValue(value) } });
      fill(this.room, id, value);
    });
  }

  delete(index: number): void {
    this.deleteElement(this.item(index).element);
  }

  deleteElement(element: OpId): void {
    this.room.transact(() => void this.room.replica.push(this.id, { kind: "listDelete", body: { element } }));
  }

  /** Move the element at `from`, so that its index becomes `to`. */
  move(from: number, to: number): void {
    this.moveElement(this.item(from).element, to);
  }

  moveElement(element: OpId, to: number): void {
    if (this.indexOf(element) === to) return;
    this.room.transact(() => {
      const { parent, side } = this.node.items.movePlace(element, to);
      this.room.replica.push(this.id, { kind: "listMove", body: { element, ...(parent && { parent }), side } });
    });
  }

  private item(index: number): ListItem {
    return this.node.items.at(index);
  }
}

/** Positions and lengths are UTF-16 code units. */
export class LiveText extends Live<TextNode> {
  readonly kind = Kind.TEXT;

  get length(): number {
    return this.node.text.length;
  }

  override toString(): string {
    return this.node.text.toString();
  }

  insert(index: number, text: string): void {
    this.splice(index, 0, text);
  }

  delete(index: number, count: number): void {
    this.splice(index, count, "");
  }

  /** Replace `deleteCount` code units at `index`. */
  splice(index: number, deleteCount: number, insert: string): void {
    this.room.transact(() => this.room.replica.pushText(this.node, index, deleteCount, insert));
  }
}

export type { TextStep };
