/** A live text: one Yjs document with the root text `text`, whose client id is the replica's site. */

import * as Y from "yjs";
import { InvalidOperationError } from "../errors.ts";

/** A step of a change: lengths and positions in UTF-16 code units. */
export type TextStep = { retain: number } | { insert: string } | { delete: number };

export class TextState {
  private doc: Y.Doc;
  private readonly clientId: number;

  constructor(clientId: number) {
    this.clientId = clientId;
    this.doc = newDoc(clientId);
  }

  toString(): string {
    return this.text.toString();
  }

  get length(): number {
    return this.text.length;
  }

  /** Apply an update of anybody; returns the steps that it took, empty when it was known. Throws `invalid-yjs-update`. */
  apply(update: Uint8Array): TextStep[] {
    return this.watch(() => {
      try {
        this.checkContinues(update);
        // Yjs takes another client id when it sees its own come in; ours is the site, and stays. No site is 0.
        this.doc.clientID = 0;
        Y.applyUpdate(this.doc, update);
      } catch (error) {
        throw new InvalidOperationError("invalid-yjs-update", `a text update does not apply: ${String(error)}`);
      } finally {
        this.doc.clientID = this.clientId;
      }
    });
  }

  /** Replace `deleteCount` code units at `index` by `insert`; returns the update to be sent, undefined when nothing changed. */
  edit(index: number, deleteCount: number, insert: string): { update: Uint8Array; steps: TextStep[] } | undefined {
    if (index < 0 || deleteCount < 0 || index + deleteCount > this.length) {
      throw new RangeError(`edit of ${deleteCount} at ${index} in a text of ${this.length}`);
    }
    if (deleteCount === 0 && insert === "") return undefined;
    let update: Uint8Array | undefined;
    const keep = (made: Uint8Array): void => void (update = made);
    this.doc.on("update", keep);
    const steps = this.watch(() =>
      this.doc.transact(() => {
        if (deleteCount > 0) this.text.delete(index, deleteCount);
        if (insert !== "") this.text.insert(index, insert);
      }),
    );
    this.doc.off("update", keep);
    return update && { update, steps };
  }

  /** The whole state as a Yjs update. */
  checkpoint(): Uint8Array {
    return Y.encodeStateAsUpdate(this.doc);
  }

  /** Go back to a checkpoint; for one's own unsent edits alone. */
  restore(checkpoint: Uint8Array): void {
    this.doc.destroy();
    this.doc = newDoc(this.clientId);
    this.apply(checkpoint);
  }

  /** What follows a refused edit must not wait in the document for clocks that will come to mean something else. */
  private checkContinues(update: Uint8Array): void {
    const { structs, ds } = Y.decodeUpdate(update);
    const ends = new Map<number, number>();
    const endOf = (client: number): number => ends.get(client) ?? Y.getState(this.doc.store, client);
    for (const struct of structs) {
      const { client, clock } = struct.id;
      if (struct instanceof Y.Skip) continue;
      if (clock > endOf(client)) throw new RangeError(`client ${client} is at clock ${endOf(client)}, the update goes on at ${clock}`);
      ends.set(client, Math.max(endOf(client), clock + struct.length));
    }
    const checkKnown = (what: string, client: number, clock: number): void => {
      if (clock >= endOf(client)) throw new RangeError(`${what} names clock ${clock} of client ${client}, who is at ${endOf(client)}`);
    };
    for (const struct of structs) {
      if (!(struct instanceof Y.Item)) continue;
      for (const id of [struct.origin, struct.rightOrigin]) if (id !== null) checkKnown("an insert", id.client, id.clock);
    }
    for (const [client, ranges] of ds.clients) for (const { clock, len } of ranges) checkKnown("a deletion", client, clock + len - 1);
  }

  private get text(): Y.Text {
    return this.doc.getText("text");
  }

  private watch(change: () => void): TextStep[] {
    const steps: TextStep[] = [];
    const text = this.text;
    const note = (event: Y.YTextEvent): void => void steps.push(...(event.delta as TextStep[]));
    text.observe(note);
    try {
      change();
    } finally {
      text.unobserve(note);
    }
    return steps;
  }
}

function newDoc(clientId: number): Y.Doc {
  const doc = new Y.Doc();
  doc.clientID = clientId;
  return doc;
}
