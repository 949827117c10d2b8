/** Operations of one envelope to be, each checked against the server's limits before it is applied, as `client/edit.py`. */

import { InvalidValueError, TooLargeError } from "./errors.ts";
import type { Change, LiveTree, Undo } from "./tree.ts";
import { opSizeBytes } from "./wire/codec.ts";
import type { ClientLimits, Op } from "./wire/messages.ts";

/** What stands in a frame around the operations of one envelope, at most. */
const ENVELOPE_HEAD_BYTES = 64;

const encoder = new TextEncoder();

export class Edit {
  readonly ops: Op[] = [];
  readonly undos: Undo[] = [];
  readonly changes: Change[] = [];
  /** The stamp of the first operation. */
  readonly hlc: bigint;
  private readonly limits: ClientLimits;
  private sizeBytes = 0;

  constructor(hlc: bigint, limits: ClientLimits) {
    this.hlc = hlc;
    this.limits = limits;
  }

  /** The stamp of the next operation. */
  get nextHlc(): bigint {
    return this.hlc + BigInt(this.ops.length);
  }

  /** Throws when one more operation does not go into an envelope. */
  checkCount(): void {
    const { envelopeOps } = this.limits;
    if (this.ops.length >= envelopeOps) throw new TooLargeError("batch", this.ops.length + 1, envelopeOps, "operations", "; make several batches");
  }

  /** The bytes of an operation; throws when it may not be the next one. */
  check(op: Op, tree: LiveTree): number {
    if ("key" in op.body) {
      if (!op.body.key.isWellFormed()) throw new InvalidValueError("a key holds half of a surrogate pair");
      checkText("key", op.body.key, this.limits.keyBytes);
    }
    if (op.kind === "textEdit") checkBytes("text edit", op.body.update.length, this.limits.valueBytes);
    if ("value" in op.body) {
      const { value } = op.body;
      if (value.kind === "text") checkText("value", value.body, this.limits.valueBytes);
      else if (value.kind === "data") checkBytes("value", value.body.length, this.limits.valueBytes);
      else if (value.kind === "container") this.checkDepth(tree.node({ site: op.targetSite, counter: op.targetCounter }).depth);
    }
    // One frame holds the whole envelope, and the server reads none that is larger.
    const { frameBytes } = this.limits;
    const opBytes = opSizeBytes(op);
    const size = this.sizeBytes + opBytes;
    if (size + ENVELOPE_HEAD_BYTES > frameBytes) throw new TooLargeError("batch", size, frameBytes, "bytes", "; make several batches");
    return opBytes;
  }

  /** Throws when a text is over what one edit may insert. */
  checkInsert(insert: string): void {
    checkText("text", insert, this.limits.valueBytes);
  }

  /** An operation was applied. */
  keep(op: Op, opBytes: number, change: Change | undefined): void {
    this.ops.push(op);
    this.sizeBytes += opBytes;
    if (change) this.changes.push(change);
  }

  /** Take everything back. */
  rollBack(): void {
    for (const undo of this.undos.reverse()) undo();
  }

  private checkDepth(depth: number): void {
    if (depth + 1 > this.limits.depth) throw new InvalidValueError(`live values are nested over ${this.limits.depth} levels`);
  }
}

function checkText(what: string, text: string, sizeMax: number): void {
  checkBytes(what, encoder.encode(text).length, sizeMax);
}

function checkBytes(what: string, size: number, sizeMax: number): void {
  if (size > sizeMax) throw new TooLargeError(what, size, sizeMax);
}
