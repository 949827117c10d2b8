/**
 * The envelopes of one site that are not confirmed yet, and which of them to send when.
 *
 * Unanswered until its Ack, acknowledged until it comes back in the log's order, since a snapshot taken before that does
 * not hold it. Sending is go-back-N: a refusal for now sends everything from there on again.
 */

import type { LiveTree } from "./tree.ts";
import { envelopeSizeBytes } from "./wire/codec.ts";
import type { Envelope } from "./wire/messages.ts";

export interface PendingEnvelope {
  envelope: Envelope;
  /** As encoded; another stamp changes nothing of it. */
  readonly sizeBytes: number;
  ackedSeq: number | undefined;
  /** Whether the tree shows it; false when what it refers to was refused. */
  isApplied: boolean;
  /** The tree in which it had a place, if the present one has none for it. */
  stoodIn?: LiveTree | undefined;
}

export function lastCounter({ counter, ops }: Envelope): number {
  return counter + ops.length - 1;
}

/** Tag and length of an envelope in a Submit, at most. */
const ENVELOPE_OVERHEAD_BYTES = 8;
/** Tag and length of a Submit, at most. */
const FRAME_OVERHEAD_BYTES = 16;

export class PendingQueue {
  private entries: PendingEnvelope[] = [];
  private sentBelow = 0;
  private sendAfterMs = 0;
  nextCounter: number;

  constructor(nextCounter = 1) {
    this.nextCounter = nextCounter;
  }

  get all(): readonly PendingEnvelope[] {
    return this.entries;
  }

  get unanswered(): readonly PendingEnvelope[] {
    return this.entries.filter(({ ackedSeq }) => ackedSeq === undefined);
  }

  add(envelope: Envelope, isApplied = true): void {
    this.entries.push({ envelope, sizeBytes: envelopeSizeBytes(envelope), ackedSeq: undefined, isApplied });
    this.nextCounter = lastCounter(envelope) + 1;
  }

  find(counter: number): PendingEnvelope | undefined {
    return this.entries.find(({ envelope }) => envelope.counter === counter);
  }

  remove(counter: number): void {
    this.entries = this.entries.filter(({ envelope }) => envelope.counter !== counter);
  }

  /** A snapshot at `seq` holds what was acknowledged at or below it. */
  confirmThrough(seq: number): void {
    this.entries = this.entries.filter(({ ackedSeq }) => ackedSeq === undefined || ackedSeq > seq);
  }

  /** Everything unanswered is to be sent, on a new connection. */
  startOver(): void {
    this.sentBelow = 0;
    this.sendAfterMs = 0;
  }

  /** The server wants everything from `counter` on again, not before `atMs`. */
  goBack(counter: number, atMs: number): void {
    this.sentBelow = Math.min(this.sentBelow, counter);
    this.sendAfterMs = Math.max(this.sendAfterMs, atMs);
  }

  /** Milliseconds until what waits may be sent; undefined when nothing waits. */
  waitMs(nowMs: number): number | undefined {
    return this.unsent().length > 0 ? Math.max(0, this.sendAfterMs - nowMs) : undefined;
  }

  /** Groups of envelopes, each of which fits a frame; noted as sent. */
  takeToSend(nowMs: number, frameBytes: number): Envelope[][] {
    if (nowMs < this.sendAfterMs) return [];
    const groups: Envelope[][] = [];
    let roomBytes = 0;
    for (const { envelope, sizeBytes } of this.unsent()) {
      const size = sizeBytes + ENVELOPE_OVERHEAD_BYTES;
      if (groups.length === 0 || size > roomBytes) {
        groups.push([]);
        roomBytes = frameBytes - FRAME_OVERHEAD_BYTES;
      }
      groups.at(-1)?.push(envelope);
      roomBytes -= size;
      this.sentBelow = lastCounter(envelope) + 1;
    }
    return groups;
  }

  private unsent(): PendingEnvelope[] {
    return this.unanswered.filter(({ envelope }) => envelope.counter >= this.sentBelow);
  }
}
