/**
 * A replicated list with insert, delete, set and move, by the rules of `collabkernel/crdt/rga.py`: a Fugue tree of slots
 * (Weidner & Kleppmann, 2023); an element has a value and a position register, each last-writer-wins by stamp; a delete
 * is for ever.
 *
 * Order is one array of slots, so an operation costs O(n) moves of pointers: about 30 us at 100,000 elements, which a
 * page shows far fewer of.
 */

import { InvalidOperationError } from "../errors.ts";
import { compareIds, isLater, keyOf, type IdKey, type OpId, type Stamp } from "../ids.ts";
import { Side, type ElementState, type SlotState, type StoredWireValue } from "../wire/messages.ts";

interface Slot {
  readonly id: OpId;
  /** Of the root undefined. This and the side change when a slot above is purged. */
  parent: Slot | undefined;
  side: Side;
  readonly left: Slot[];
  readonly right: Slot[];
  /** What is shown here; undefined: a tombstone. */
  held: Element | undefined;
}

interface Element {
  readonly id: OpId;
  /** Undefined: deleted; then value and stamps mean nothing. */
  slot: Slot | undefined;
  value: StoredWireValue;
  valueStamp: Stamp;
  positionStamp: Stamp;
}

export interface Place {
  readonly parent: OpId | undefined;
  readonly side: Side;
}

export interface ListItem {
  readonly element: OpId;
  readonly value: StoredWireValue;
}

const NEVER: Stamp = { hlc: 0n, site: 0 };
const NOTHING: StoredWireValue = { kind: "null", body: true };

export class ListState {
  private readonly root: Slot = { id: { site: 0, counter: 0 }, parent: undefined, side: Side.RIGHT, left: [], right: [], held: undefined };
  /** Every slot in list order, the root first. */
  private readonly order: Slot[] = [this.root];
  private readonly slots = new Map<IdKey, Slot>();
  private readonly elements = new Map<IdKey, Element>();
  private count = 0;

  get length(): number {
    return this.count;
  }

  // Each operation throws `unknown-reference` and changes nothing when it names what is not there. `undos`, when given,
  // gets what takes the operation back, for as long as nothing later is applied.

  /** False when the op was there already. */
  insert(id: OpId, stamp: Stamp, place: Place, value: StoredWireValue, undos?: (() => void)[]): boolean {
    if (this.slots.has(keyOf(id))) return false;
    const parent = this.parentSlot(place);
    const element: Element = { id, slot: undefined, value, valueStamp: stamp, positionStamp: stamp };
    element.slot = this.link(id, parent, place.side, element);
    this.elements.set(keyOf(id), element);
    this.count += 1;
    const slot = element.slot;
    undos?.push(() => {
      this.unlink(slot);
      this.elements.delete(keyOf(id));
      this.count -= 1;
    });
    return true;
  }

  /** Delete for ever; false when it was deleted already. */
  delete(id: OpId, undos?: (() => void)[]): boolean {
    const element = this.known(id);
    const { slot, value } = element;
    if (slot === undefined) return false;
    undos?.push(() => {
      slot.held = element;
      element.slot = slot;
      element.value = value;
      this.count += 1;
    });
    slot.held = undefined;
    element.slot = undefined;
    element.value = NOTHING;
    this.count -= 1;
    return true;
  }

  /** False when a later write or a delete stands. */
  set(id: OpId, stamp: Stamp, value: StoredWireValue, undos?: (() => void)[]): boolean {
    const element = this.known(id);
    if (element.slot === undefined || !isLater(stamp, element.valueStamp)) return false;
    const before = { value: element.value, valueStamp: element.valueStamp };
    undos?.push(() => void Object.assign(element, before));
    element.value = value;
    element.valueStamp = stamp;
    return true;
  }

  /** Make the slot `id` and show the element there; false when a later move or a delete stands, or it was made before. */
  move(id: OpId, stamp: Stamp, elementId: OpId, place: Place, undos?: (() => void)[]): boolean {
    const element = this.known(elementId);
    if (this.slots.has(keyOf(id))) return false;
    const parent = this.parentSlot(place);
    const moves = element.slot !== undefined && isLater(stamp, element.positionStamp);
    const slot = this.link(id, parent, place.side, moves ? element : undefined);
    const { slot: oldSlot, positionStamp } = element;
    undos?.push(() => {
      this.unlink(slot);
      if (!moves) return;
      (oldSlot as Slot).held = element;
      Object.assign(element, { slot: oldSlot, positionStamp });
    });
    if (!moves) return false;
    (oldSlot as Slot).held = undefined;
    element.slot = slot;
    element.positionStamp = stamp;
    return true;
  }

  /**
   * Let go of dead slots and the elements that were born in them; the keys of those that went.
   *
   * One from which two others hang stays, until one of these has gone; so does one whose only child would not stand in
   * its place. This does not commute with what names them.
   */
  purge(ids: readonly OpId[]): Set<IdKey> {
    const asked = new Set(ids.map(keyOf));
    const gone = new Set<IdKey>();
    for (const id of ids) {
      let slot = this.slots.get(keyOf(id));
      while (slot !== undefined && asked.has(keyOf(slot.id)) && this.isDead(slot)) {
        const above: Slot | undefined = slot.parent;
        if (!this.slots.has(keyOf(slot.id)) || !takeOut(slot)) break;
        this.slots.delete(keyOf(slot.id));
        this.elements.delete(keyOf(slot.id));
        gone.add(keyOf(slot.id));
        slot = above; // it may have waited for this one
      }
    }
    let kept = 0;
    for (const slot of this.order) if (!gone.has(keyOf(slot.id))) this.order[kept++] = slot;
    this.order.length = kept;
    return gone;
  }

  /** The elements shown before what would hang there, from the nearest on; undefined when there is no such slot. */
  elementsBefore(parent: OpId, side: Side): OpId[] | undefined {
    const slot = this.slots.get(keyOf(parent));
    if (slot === undefined) return undefined;
    const before = this.order.slice(0, this.order.indexOf(slot) + (side === Side.RIGHT ? 1 : 0));
    return before.flatMap(({ held }) => (held === undefined ? [] : [held.id])).reverse();
  }

  /** The elements that are shown, in order. */
  *items(): Generator<ListItem> {
    for (const { held } of this.order) {
      if (held !== undefined) yield { element: held.id, value: held.value };
    }
  }

  /** Throws RangeError outside 0 <= index < length. */
  at(index: number): ListItem {
    const held = this.shownSlot(index).held as Element;
    return { element: held.id, value: held.value };
  }

  /** The value of an element, or undefined when it is deleted or unknown. */
  valueOf(id: OpId): StoredWireValue | undefined {
    const element = this.elements.get(keyOf(id));
    return element?.slot === undefined ? undefined : element.value;
  }

  /** Where an element is shown, -1 when it is deleted or unknown. */
  indexOf(id: OpId): number {
    const slot = this.elements.get(keyOf(id))?.slot;
    if (slot === undefined) return -1;
    let index = 0;
    for (const each of this.order) {
      if (each === slot) return index;
      if (each.held !== undefined) index += 1;
    }
    return -1;
  }

  hasSlot(id: OpId): boolean {
    return this.slots.has(keyOf(id));
  }

  /** Throws `unknown-reference` unless the element was inserted, be it deleted now. */
  checkElement(id: OpId): void {
    this.known(id);
  }

  /** Throws `unknown-reference` unless something may hang there. */
  checkPlace(place: Place): void {
    this.parentSlot(place);
  }

  /** Parent and side of an insert whose element shall have this index, by Fugue's rule. */
  insertionPlace(index: number): Place {
    if (!Number.isInteger(index) || index < 0 || index > this.count) {
      throw new RangeError(`insert at ${index} in a list of ${this.count}`);
    }
    const before = index === 0 ? this.root : this.shownSlot(index - 1);
    if (before.right.length === 0) return { parent: index === 0 ? undefined : before.id, side: Side.RIGHT };
    const after = this.order[this.order.indexOf(before) + 1] as Slot;
    return { parent: after.id, side: Side.LEFT };
  }

  /** Parent and side of a move after which the element shall have this index. */
  movePlace(id: OpId, index: number): Place {
    const oldIndex = this.indexOf(id);
    if (oldIndex < 0) throw new InvalidOperationError("unknown-reference", `list element ${keyOf(id)} is deleted`);
    if (!Number.isInteger(index) || index < 0 || index >= this.count) {
      throw new RangeError(`move to ${index} in a list of ${this.count}`);
    }
    return this.insertionPlace(index <= oldIndex ? index : index + 1);
  }

  // ---------------------------------------------------------------- snapshots

  slotStates(): SlotState[] {
    return this.order.slice(1).map(({ id, parent, side }) => (parent === this.root ? { id, side } : { id, parent: (parent as Slot).id, side }));
  }

  elementStates(): ElementState[] {
    const states: ElementState[] = [];
    for (const slot of this.order) {
      const element = this.elements.get(keyOf(slot.id));
      if (element === undefined) continue;
      if (element.slot === undefined) {
        states.push({ id: element.id, positionHlc: 0n, positionSite: 0, deleted: true });
      } else {
        states.push({
          id: element.id,
          value: { ...element.valueStamp, value: element.value },
          positionHlc: element.positionStamp.hlc,
          positionSite: element.positionStamp.site,
          slot: element.slot.id,
          deleted: false,
        });
      }
    }
    return states;
  }

  /** Build a list from what `slotStates` and `elementStates` gave, in the order they gave it. */
  static restore(slots: readonly SlotState[], elements: readonly ElementState[]): ListState {
    const list = new ListState();
    const parents = new Map<IdKey, SlotState>(slots.map((state) => [keyOf(state.id), state]));
    // A left child comes before its parent in list order, so parents are made on the way up, without recursion.
    for (const state of slots) {
      const path: SlotState[] = [];
      let next: SlotState | undefined = state;
      while (next !== undefined && !list.slots.has(keyOf(next.id))) {
        if (path.length > slots.length) throw new InvalidOperationError("unknown-reference", "list slots form a cycle");
        path.push(next);
        if (next.parent === undefined) break;
        const above: SlotState | undefined = parents.get(keyOf(next.parent));
        if (above === undefined) throw new InvalidOperationError("unknown-reference", `no list slot ${keyOf(next.parent)}`);
        next = above;
      }
      for (const each of path.reverse()) list.newSlot(each.id, list.parentSlot({ parent: each.parent, side: each.side }), each.side, undefined);
    }
    for (const { id } of slots) {
      const slot = list.slots.get(keyOf(id)) as Slot;
      list.order.push(slot);
      // In list order siblings come in id order.
      const parent = slot.parent as Slot;
      (slot.side === Side.RIGHT ? parent.right : parent.left).push(slot);
    }
    for (const state of elements) list.restoreElement(state);
    return list;
  }

  private restoreElement({ id, value, positionHlc, positionSite, slot: slotId }: ElementState): void {
    const element: Element = { id, slot: undefined, value: NOTHING, valueStamp: NEVER, positionStamp: NEVER };
    this.elements.set(keyOf(id), element);
    if (value?.value === undefined || slotId === undefined) return;
    const slot = this.slots.get(keyOf(slotId));
    if (slot === undefined) throw new InvalidOperationError("unknown-reference", `no list slot ${keyOf(slotId)}`);
    element.slot = slot;
    element.value = value.value;
    element.valueStamp = { hlc: value.hlc, site: value.site };
    element.positionStamp = { hlc: positionHlc, site: positionSite };
    slot.held = element;
    this.count += 1;
  }

  // ---------------------------------------------------------------- parts

  private newSlot(id: OpId, parent: Slot, side: Side, held: Element | undefined): Slot {
    const slot: Slot = { id, parent, side, left: [], right: [], held };
    this.slots.set(keyOf(id), slot);
    return slot;
  }

  /** Nothing will ever be shown there again, and the element that was born there is deleted. */
  private isDead(slot: Slot): boolean {
    return slot !== this.root && slot.held === undefined && this.elements.get(keyOf(slot.id))?.slot === undefined;
  }

  /** Hang a new slot under its parent, siblings by id, and into the order. */
  private link(id: OpId, parent: Slot, side: Side, held: Element | undefined): Slot {
    const slot = this.newSlot(id, parent, side, held);
    const siblings = side === Side.RIGHT ? parent.right : parent.left;
    let place = siblings.length;
    while (place > 0 && compareIds((siblings[place - 1] as Slot).id, id) > 0) place -= 1;
    siblings.splice(place, 0, slot);
    this.order.splice(this.positionFor(parent, side, siblings, place), 0, slot);
    return slot;
  }

  /** Take out a slot that has no children, as if it had never been linked. */
  private unlink(slot: Slot): void {
    const siblings = slot.side === Side.RIGHT ? (slot.parent as Slot).right : (slot.parent as Slot).left;
    siblings.splice(siblings.indexOf(slot), 1);
    this.order.splice(this.order.indexOf(slot), 1);
    this.slots.delete(keyOf(slot.id));
  }

  /** Index in `order`, of the slot that is now `siblings[place]`. */
  private positionFor(parent: Slot, side: Side, siblings: readonly Slot[], place: number): number {
    if (side === Side.RIGHT) {
      let before = place === 0 ? parent : (siblings[place - 1] as Slot);
      if (place > 0) while (before.right.length > 0) before = before.right.at(-1) as Slot;
      return this.order.indexOf(before) + 1;
    }
    let after = siblings[place + 1] ?? parent;
    if (after !== parent) while (after.left.length > 0) after = after.left[0] as Slot;
    return this.order.indexOf(after);
  }

  private parentSlot({ parent, side }: Place): Slot {
    if (parent === undefined) {
      if (side === Side.LEFT) throw new InvalidOperationError("unknown-reference", "nothing stands left of a list's root");
      return this.root;
    }
    const slot = this.slots.get(keyOf(parent));
    if (slot === undefined) throw new InvalidOperationError("unknown-reference", `no list slot ${keyOf(parent)}`);
    return slot;
  }

  private known(id: OpId): Element {
    const element = this.elements.get(keyOf(id));
    if (element === undefined) throw new InvalidOperationError("unknown-reference", `no list element ${keyOf(id)}`);
    return element;
  }

  private shownSlot(index: number): Slot {
    if (Number.isInteger(index) && index >= 0 && index < this.count) {
      let left = index;
      for (const slot of this.order) {
        if (slot.held !== undefined && left-- === 0) return slot;
      }
    }
    throw new RangeError(`index ${index} in a list of ${this.count}`);
  }
}

/** Take a slot out for ever; what hangs from it takes its place. False, with nothing done, where that is not one. */
function takeOut(slot: Slot): boolean {
  const children = [...slot.left.slice(0, 2), ...slot.right.slice(0, 2)];
  const parent = slot.parent as Slot;
  const siblings = slot.side === Side.RIGHT ? parent.right : parent.left;
  const place = siblings.indexOf(slot);
  if (children.length > 1) return false;
  const child = children[0];
  if (child === undefined) {
    siblings.splice(place, 1);
    return true;
  }
  const before = siblings[place - 1];
  const after = siblings[place + 1];
  // Siblings stand in the order of their ids, those that are still to come too.
  if ((before && compareIds(before.id, child.id) > 0) || (after && compareIds(child.id, after.id) > 0)) return false;
  siblings[place] = child;
  child.parent = parent;
  child.side = slot.side;
  return true;
}
