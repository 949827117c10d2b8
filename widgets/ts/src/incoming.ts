/** A resync: when it is due, by the rules of `collabkernel/client/incoming.py`. */

/** Whether the server's state is wanted, or was asked for. */
export class Resyncing {
  private isWanted = false;
  private isAsked = false;
  /** A purge that is not done here, since edits on their way are in it. */
  private purgedAt: number | undefined;
  /** The server has had enough of resyncs until then. */
  private notBeforeMs = 0;

  /** What is shown is not what it should be. */
  get isUnderWay(): boolean {
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
    this.notBeforeMs = 0;
  }

  /** A snapshot is here, or none is needed any more. */
  came(): void {
    this.isWanted = false;
    this.isAsked = false;
    this.purgedAt = undefined;
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
