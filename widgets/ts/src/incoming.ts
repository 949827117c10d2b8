/**
 * A resync, by the rules of `collabkernel/client/incoming.py`: when it is due, and the state that it brings until that may
 * take the place of the replica's own.
 *
 * The server's snapshot may be older than what the replica has shown: the log behind it follows, in one message or in
 * many. Until then the old state stays. In the snapshot's own edits may be missing that are in the log; whoever typed there
 * would use places of his Yjs clock a second time.
 */

import { isPurge, tryApply } from "./applying.ts";
import type { OpId } from "./ids.ts";
import { lastCounter } from "./pending.ts";
import { LiveTree } from "./tree.ts";
import { roomState } from "./wire/codec.ts";
import type { Snapshot, StoredEnvelope } from "./wire/messages.ts";

/** An operation, and where in the log it is. */
export interface LoggedOp {
  readonly seq: number;
  readonly id: OpId;
}

/** A snapshot, and the log behind it as far as it has come. */
export class Incoming {
  readonly tree: LiveTree;
  /** The highest stamp in the snapshot. */
  readonly hlc: bigint;
  through: number;
  lastOp: LoggedOp | undefined;
  /** The last purge in it. */
  purgedSeq: number;
  private readonly goalSeq: number;

  /**
   * Throws a CollabKernelError when the snapshot is none.
   *
   * @param goalSeq What the replica has shown already.
   */
  constructor({ seq, state, op }: Snapshot, site: number, goalSeq: number) {
    const decoded = roomState.decode(state);
    this.tree = LiveTree.restore(decoded, site);
    this.hlc = decoded.hlc;
    this.through = seq;
    this.lastOp = op && { seq, id: op };
    this.purgedSeq = decoded.purgedSeq;
    this.goalSeq = goalSeq;
  }

  /** It has all that the replica has shown. */
  get isComplete(): boolean {
    return this.through >= this.goalSeq;
  }

  /** Apply the next envelope of the log; false when it does not fit. */
  take({ seq, site, envelope }: StoredEnvelope): boolean {
    this.through = seq + envelope.ops.length - 1;
    this.lastOp = { seq: this.through, id: { site, counter: lastCounter(envelope) } };
    if (isPurge(envelope)) this.purgedSeq = this.through;
    return tryApply(this.tree, site, envelope) !== undefined;
  }
}

/** Whether the server's state is wanted, was asked for, or is coming in. */
export class Resyncing {
  incoming: Incoming | undefined;
  private isWanted = false;
  private isAsked = false;
  /** A purge that is not done here, since edits on their way are in it. */
  private purgedAt: number | undefined;
  /** The server has had enough of resyncs until then. */
  private notBeforeMs = 0;

  /** What is shown is not what it should be. */
  get isUnderWay(): boolean {
    return this.ignoresLog || this.incoming !== undefined;
  }

  /** A snapshot will have what the log brings now. */
  get ignoresLog(): boolean {
    return this.isWanted || this.isAsked;
  }

  /** Something is wrong with the state here, such as by a purge, since edits on their way are in it. */
  want(purgedAt?: number): void {
    this.isWanted ||= !this.isAsked;
    this.purgedAt ??= purgedAt;
  }

  /** What an edit is made on: before a purge that is not done here, for it may name what is gone elsewhere. */
  base(through: number): number {
    return Math.min(through, (this.purgedAt ?? Infinity) - 1);
  }

  /**
   * A new connection, on which the server sends a snapshot by itself, or not.
   *
   * What was wanted on an older one is wanted still: what is wrong is in the state.
   */
  connected(isSent: boolean): void {
    this.isWanted = this.isUnderWay && !isSent;
    this.isAsked = isSent;
    this.incoming = undefined;
    this.notBeforeMs = 0;
  }

  /** A snapshot is here, or none is needed any more. */
  came(incoming?: Incoming): void {
    this.isWanted = false;
    this.isAsked = false;
    this.incoming = incoming;
    if (incoming === undefined) this.purgedAt = undefined;
  }

  /** The server refused something for now; if a resync was asked for, it may be that. */
  refused(retryAtMs: number): void {
    if (!this.isAsked) return;
    this.isWanted = true;
    this.isAsked = false;
    this.notBeforeMs = retryAtMs;
  }

  /** Whether to ask now; noted as asked. */
  takeRequest(nowMs: number): boolean {
    if (!this.isWanted || nowMs < this.notBeforeMs) return false;
    this.isWanted = false;
    this.isAsked = true;
    return true;
  }

  /** Milliseconds until it may be asked for; undefined when it is not wanted. */
  waitMs(nowMs: number): number | undefined {
    return this.isWanted ? Math.max(0, this.notBeforeMs - nowMs) : undefined;
  }
}
