/**
 * The stamps of one site, as `collabkernel/client/site_clock.py`: 48 bits of milliseconds and a 16-bit counter that carries
 * over; on the server's time, above all that was received, and down again when they ran ahead.
 *
 * A clock that was set forward after the Welcome stamps ahead of the server's, which lowers such stamps. Once all that the
 * site has made is answered it stamps on from there, or each of its edits would be lowered until the server's clock has
 * come as far.
 */

import type { Envelope } from "./wire/messages.ts";

/** Whether an envelope does something else when it is stamped otherwise; the stamps of text edits decide nothing. */
export function isDecidedByStamps({ ops }: Envelope): boolean {
  return ops.some(({ kind }) => kind !== "textEdit");
}

export class HybridClock {
  private last = 0n;
  /** Server time minus local time. */
  private offsetMs = 0;
  /** The highest in the log, as far as is known here. */
  private stored = 0n;
  private isAhead = false;

  /** The server's time as Welcome told it: authors stamp on the server's time. */
  setServerTime(serverTimeMs: number, nowMs: number): void {
    this.offsetMs = serverTimeMs - nowMs;
  }

  /** The log has this stamp. */
  observe(hlc: bigint): void {
    if (hlc > this.stored) this.stored = hlc;
    this.advance(hlc);
  }

  /** An own edit has this stamp. */
  advance(hlc: bigint): void {
    if (hlc > this.last) this.last = hlc;
  }

  /**
   * An own envelope is stored.
   *
   * @param envelope With the stamps that it has in the log.
   * @param isLowered It was made with higher ones.
   * @param isLast None is unanswered.
   */
  answered({ hlc, ops }: Envelope, isLowered: boolean, isLast: boolean, nowMs: number): void {
    const lastHlc = hlc + BigInt(ops.length - 1);
    if (lastHlc > this.stored) this.stored = lastHlc;
    if (isLowered) {
      this.isAhead = true;
      this.offsetMs = Math.min(this.offsetMs, Number(hlc >> 16n) - nowMs);
    }
    if (!this.isAhead || !isLast) return;
    this.isAhead = false;
    this.last = this.stored;
  }

  /** The first of `count` stamps in a row, above all that were given or received. */
  take(nowMs: number, count: number): bigint {
    const wall = BigInt(Math.max(0, Math.floor(nowMs + this.offsetMs))) << 16n;
    const first = wall > this.last ? wall : this.last + 1n;
    this.last = first + BigInt(count - 1);
    return first;
  }

  /** The highest stamp given or received. */
  get highest(): bigint {
    return this.last;
  }
}
