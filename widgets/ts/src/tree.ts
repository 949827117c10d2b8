/**
 * The tree of live values of a room, by the rules of `collabkernel/document/live_tree.py`.
 *
 * Operations commute: in any causal order and any number of times they give the same state. A container has one home, the
 * place that it was made in, for ever; it is attached while every place on the way up to the root still shows it.
 */

import { ListState, type Place } from "./crdt/list.ts";
import { TextState, type TextStep } from "./crdt/text.ts";
import { InvalidOperationError } from "./errors.ts";
import { isLater, keyOf, ROOT, sameId, sharedContainerId, type IdKey, type OpId, type Stamp } from "./ids.ts";
import { fromWire, type Plain } from "./values.ts";
import { Kind, type ContainerState, type LiveOp, type NewContainer, type Op, type Purge, type PurgeBody, type RoomState, type StoredWireValue, type TreeOpBody, type WireValue } from "./wire/messages.ts";

/** Takes back one applied operation; only the last one that is still applied may be taken back. */
export type Undo = () => void;

/** The place that a container was made in. */
export interface Home {
  readonly parent: OpId;
  readonly key: string | undefined;
  readonly element: OpId | undefined;
  readonly after: Stamp | undefined;
}

/** `value` undefined: a tombstone. */
export interface Register {
  readonly stamp: Stamp;
  readonly value: StoredWireValue | undefined;
}

interface NodeBase {
  readonly id: OpId;
  readonly home: Home | undefined;
  readonly depth: number;
}
export interface MapNode extends NodeBase {
  readonly kind: typeof Kind.OBJECT | typeof Kind.MAP;
  readonly entries: Map<string, Register>;
  /** The highest stamp of a deletion that was purged: of an absent key nobody can tell whether it was deleted by then. */
  floor: Stamp | undefined;
}
export interface ListNode extends NodeBase {
  readonly kind: typeof Kind.LIST;
  readonly items: ListState;
}
export interface TextNode extends NodeBase {
  readonly kind: typeof Kind.TEXT;
  readonly text: TextState;
}
export type Node = MapNode | ListNode | TextNode;

/** What one operation did to what a user sees. */
export interface Change {
  readonly target: OpId;
  readonly action: "set" | "delete" | "insert" | "remove" | "replace" | "move" | "text";
  /** The key in a map or object. */
  readonly key?: string;
  /** The element in a list. */
  readonly element?: OpId;
  /** Of a text. */
  readonly steps?: readonly TextStep[];
}

export class LiveTree {
  private readonly nodes = new Map<IdKey, Node>();
  private readonly clientId: number;
  /** The room has block documents, which this tree does not hold: what is on an unknown target is on one of their blocks. */
  private hasDocument = false;

  /** @param clientId Yjs client id of local text edits: the replica's site. */
  constructor(clientId: number) {
    this.clientId = clientId;
    this.enter(ROOT, Kind.OBJECT, undefined, 0);
  }

  /** Throws `unknown-target`. */
  node(id: OpId): Node {
    const node = this.nodes.get(keyOf(id));
    if (node === undefined) throw new InvalidOperationError("unknown-target", `there is no container ${keyOf(id)} in this room`);
    return node;
  }

  find(id: OpId): Node | undefined {
    return this.nodes.get(keyOf(id));
  }

  /** Whether an operation that made a list slot or a container of its own has been applied. */
  hasMade(id: OpId, op: Op): boolean {
    const target = this.find({ site: op.targetSite, counter: op.targetCounter });
    return this.nodes.has(keyOf(id)) || (target?.kind === Kind.LIST && target.items.hasSlot(id));
  }

  /** Every container, also those that are detached. */
  all(): IterableIterator<Node> {
    return this.nodes.values();
  }

  /** Keys and indexes from the root to the container; undefined when it is detached. */
  path(id: OpId): (string | number)[] | undefined {
    const steps: (string | number)[] = [];
    let node = this.nodes.get(keyOf(id));
    while (node?.home !== undefined) {
      const parent = this.node(node.home.parent);
      const step = place(parent, node);
      if (step === undefined) return undefined;
      steps.unshift(step);
      node = parent;
    }
    return node && steps;
  }

  /** The value as plain data. */
  toPlain(value: StoredWireValue): Plain {
    if (value.kind !== "container") return fromWire(value);
    const node = this.node(value.body);
    if (node.kind === Kind.LIST) return [...node.items.items()].map((item) => this.toPlain(item.value));
    if (node.kind === Kind.TEXT) return node.text.toString();
    return Object.fromEntries(liveEntries(node).map(([key, held]) => [key, this.toPlain(held)]));
  }

  /** The whole room, from the root. */
  toJSON(): Record<string, Plain> {
    return this.toPlain({ kind: "container", body: ROOT }) as Record<string, Plain>;
  }

  /**
   * Apply one operation whole, or throw InvalidOperationError and change nothing.
   *
   * @param undos When given, gets what takes this operation back.
   */
  apply(id: OpId, stamp: Stamp, op: Op, undos?: Undo[]): Change | undefined {
    if (isOnTree(op)) {
      this.hasDocument = true;
      return undefined;
    }
    if (op.kind === "purge") {
      this.purge(this.find({ site: op.targetSite, counter: op.targetCounter }), op.body);
      return undefined;
    }
    const target = { site: op.targetSite, counter: op.targetCounter };
    if (this.hasDocument && this.find(target) === undefined) return undefined;
    const node = this.node(target);
    switch (op.kind) {
      case "mapSet":
      case "mapDelete":
        if (node.kind === Kind.OBJECT || node.kind === Kind.MAP) return this.applyToMap(node, id, stamp, op, undos);
        break;
      case "textEdit":
        if (node.kind === Kind.TEXT) return this.applyToText(node, op.body.update, undos);
        break;
      default:
        if (node.kind === Kind.LIST) return this.applyToList(node, id, stamp, op, undos);
    }
    throw new InvalidOperationError("wrong-target-kind", `${op.kind} does not fit ${keyOf(node.id)}`);
  }

  /** Edit a text of this replica at once; undefined when nothing changed. */
  editText(node: TextNode, index: number, deleteCount: number, insert: string, undos?: Undo[]): { update: Uint8Array; change: Change } | undefined {
    const before = undos && node.text.checkpoint();
    const made = node.text.edit(index, deleteCount, insert);
    if (made === undefined) return undefined;
    if (before) undos.push(() => node.text.restore(before));
    return { update: made.update, change: { target: node.id, action: "text", steps: made.steps } };
  }

  private applyToMap(node: MapNode, id: OpId, stamp: Stamp, op: Extract<Op, { kind: "mapSet" | "mapDelete" }>, undos?: Undo[]): Change | undefined {
    const { key } = op.body;
    const before = node.entries.get(key);
    if (before === undefined && node.floor !== undefined && !isLater(stamp, node.floor)) {
      if (op.kind === "mapDelete") return undefined;
      throw new InvalidOperationError("purged", `nobody can tell any more whether ${key} was deleted since this edit was made`);
    }
    const value = op.kind === "mapDelete" ? undefined : this.stored(op.body.value, node, id, { key }, undos);
    if (before !== undefined && !isLater(stamp, before.stamp)) return undefined;
    node.entries.set(key, { stamp, value });
    undos?.push(() => {
      if (before === undefined) node.entries.delete(key);
      else node.entries.set(key, before);
    });
    if (value === undefined) return before?.value && { target: node.id, action: "delete", key };
    return { target: node.id, action: "set", key };
  }

  private applyToList(
    node: ListNode,
    id: OpId,
    stamp: Stamp,
    op: Extract<Op, { kind: "listInsert" | "listDelete" | "listMove" | "listSet" }>,
    undos?: Undo[],
  ): Change | undefined {
    const { id: target, items } = node;
    switch (op.kind) {
      case "listInsert": {
        const at: Place = { parent: op.body.parent, side: op.body.side };
        items.checkPlace(at);
        const value = this.stored(op.body.value, node, id, { element: id }, undos);
        return items.insert(id, stamp, at, value, undos) ? { target, action: "insert", element: id } : undefined;
      }
      case "listDelete":
        return items.delete(op.body.element, undos) ? { target, action: "remove", element: op.body.element } : undefined;
      case "listMove": {
        const { element, parent, side } = op.body;
        return items.move(id, stamp, element, { parent, side }, undos) ? { target, action: "move", element } : undefined;
      }
      case "listSet": {
        const { element } = op.body;
        items.checkElement(element);
        const value = this.stored(op.body.value, node, id, { element }, undos);
        return items.set(element, stamp, value, undos) ? { target, action: "replace", element } : undefined;
      }
    }
  }

  private applyToText(node: TextNode, update: Uint8Array, undos?: Undo[]): Change | undefined {
    const before = undos && node.text.checkpoint();
    const steps = node.text.apply(update);
    if (before) undos.push(() => node.text.restore(before));
    return steps.length > 0 ? { target: node.id, action: "text", steps } : undefined;
  }

  /** Let go of what was deleted long ago, with the containers made there, by the rules of `document/purging.py`. */
  private purge(node: Node | undefined, { runs, floorHlc, floorSite }: Purge): void {
    let isGone: (home: Home) => boolean;
    if (node?.kind === Kind.LIST) {
      const gone = node.items.purge(runs.flatMap(({ site, counter, more }) => Array.from({ length: more + 1 }, (_, i) => ({ site, counter: counter + i }))));
      isGone = ({ element }) => element !== undefined && gone.has(keyOf(element));
    } else if ((node?.kind === Kind.OBJECT || node?.kind === Kind.MAP) && floorSite > 0) {
      const gone = this.purgeKeys(node, { hlc: floorHlc, site: floorSite });
      isGone = ({ key }) => key !== undefined && gone.has(key);
    } else {
      return;
    }
    const removed = new Set<IdKey>();
    for (const { id, home } of this.nodes.values()) {
      if (home === undefined) continue;
      if (removed.has(keyOf(home.parent)) || (sameId(home.parent, node.id) && isGone(home))) removed.add(keyOf(id));
    }
    for (const key of removed) this.nodes.delete(key);
  }

  private purgeKeys(node: MapNode, floor: Stamp): Set<string> {
    const kept = new Set<string | undefined>();
    for (const { id, home } of this.nodes.values()) if (id.site === 0 && sameId(home?.parent, node.id)) kept.add(home?.key);
    const gone = new Set<string>();
    for (const [key, { stamp, value }] of node.entries) {
      if (value !== undefined || isLater(stamp, floor) || kept.has(key)) continue;
      node.entries.delete(key);
      gone.add(key);
      if (node.floor === undefined || isLater(stamp, node.floor)) node.floor = stamp;
    }
    return gone;
  }

  // ---------------------------------------------------------------- containers

  /** The value that a register keeps: a scalar, or the container that the operation makes. */
  private stored(value: WireValue, parent: Node, id: OpId, at: { key?: string; element?: OpId }, undos?: Undo[]): StoredWireValue {
    if (value.kind !== "container") return value;
    const made = value.body;
    const after = afterOf(made);
    const name = madeId(made, parent.id, at.key, id);
    const known = this.nodes.get(keyOf(name));
    if (known === undefined) {
      this.enter(name, made.kind, { parent: parent.id, key: at.key, element: at.element, after }, parent.depth + 1);
      undos?.push(() => void this.nodes.delete(keyOf(name)));
    } else if (known.kind !== made.kind || !sameId(known.home?.parent, parent.id) || known.home?.key !== at.key || !sameId(known.home?.element, at.element)) {
      throw new InvalidOperationError("invalid-operation", `${keyOf(name)} names another container already`);
    }
    return { kind: "container", body: name };
  }

  private enter(id: OpId, kind: Kind, home: Home | undefined, depth: number): Node {
    const base = { id, home, depth };
    let node: Node;
    if (kind === Kind.LIST) node = { ...base, kind, items: new ListState() };
    else if (kind === Kind.TEXT) node = { ...base, kind, text: new TextState(this.clientId) };
    else node = { ...base, kind, entries: new Map(), floor: undefined };
    this.nodes.set(keyOf(id), node);
    return node;
  }

  // ---------------------------------------------------------------- snapshots

  /** The tree in a snapshot. Throws InvalidOperationError when it does not hang together. */
  static restore(state: RoomState, clientId: number): LiveTree {
    const tree = new LiveTree(clientId);
    tree.hasDocument = state.tree !== undefined;
    for (const container of state.containers) tree.restoreContainer(container);
    return tree;
  }

  private restoreContainer(state: ContainerState): void {
    const { id, kind, home: parent } = state;
    const isRoot = sameId(id, ROOT);
    if (isRoot !== (parent === undefined)) throw new InvalidOperationError("invalid-operation", `${keyOf(id)} has no home`);
    const home = parent && {
      parent,
      key: state.homeElement === undefined ? state.homeKey : undefined,
      element: state.homeElement,
      after: state.afterHlc > 0n ? { hlc: state.afterHlc, site: state.afterSite } : undefined,
    };
    const depth = parent === undefined ? 0 : this.node(parent).depth + 1;
    const base = { id, home, depth };
    let node: Node;
    if (kind === Kind.LIST) {
      node = { ...base, kind, items: ListState.restore(state.slots, state.elements) };
    } else if (kind === Kind.TEXT) {
      const text = new TextState(this.clientId);
      if (state.yjsState.length > 0) text.apply(state.yjsState);
      node = { ...base, kind, text };
    } else {
      const entries = state.entries.map(({ key, register: { hlc, site, value } }) => [key, { stamp: { hlc, site }, value }] as const);
      const floor = state.floorSite > 0 ? { hlc: state.floorHlc, site: state.floorSite } : undefined;
      node = { ...base, kind, entries: new Map(entries), floor };
    }
    this.nodes.set(keyOf(id), node);
  }
}

const TREE_OPS: ReadonlySet<string> = new Set<TreeOpBody["kind"]>(["newDocument", "blockInsert", "blockMove", "blockDelete", "blockRekey"]);

/** Whether an operation is on the tree of a block document. */
function isOnTree(op: Op): op is Exclude<Op, LiveOp | PurgeBody> {
  return TREE_OPS.has(op.kind);
}

/** What is shown under the keys of a map or object, by key. */
export function liveEntries(node: MapNode): [string, StoredWireValue][] {
  const live: [string, StoredWireValue][] = [];
  for (const [key, { value }] of node.entries) if (value !== undefined) live.push([key, value]);
  return live.sort(([a], [b]) => (a < b ? -1 : 1));
}

function place(parent: Node, node: Node): string | number | undefined {
  const { key, element } = node.home as Home;
  if (parent.kind === Kind.LIST && element !== undefined) {
    return isContainer(parent.items.valueOf(element), node.id) ? parent.items.indexOf(element) : undefined;
  }
  if ((parent.kind === Kind.OBJECT || parent.kind === Kind.MAP) && key !== undefined) {
    return isContainer(parent.entries.get(key)?.value, node.id) ? key : undefined;
  }
  return undefined;
}

function isContainer(value: StoredWireValue | undefined, id: OpId): boolean {
  return value?.kind === "container" && sameId(value.body, id);
}

function afterOf({ afterHlc, afterSite }: NewContainer): Stamp | undefined {
  return afterHlc === 0n && afterSite === 0 ? undefined : { hlc: afterHlc, site: afterSite };
}

/** The name of the container that an operation makes. */
export function madeId(made: NewContainer, parent: OpId, key: string | undefined, id: OpId): OpId {
  if (!made.shared) return id;
  if (key === undefined) throw new InvalidOperationError("invalid-operation", "only maps and objects hold shared containers");
  return sharedContainerId(parent, key, made.kind, afterOf(made));
}
