/** A hybrid logical clock: 48 bits of milliseconds and a 16-bit counter that carries over. */

export class HybridClock {
  private last = 0n;
  private offsetMs = 0;

  /** The server's time as Welcome told it: authors stamp on the server's time. */
  setServerTime(serverTimeMs: number, nowMs: number): void {
    this.offsetMs = serverTimeMs - nowMs;
  }

  /** Advance past a stamp that was received. */
  observe(hlc: bigint): void {
    if (hlc > this.last) this.last = hlc;
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
