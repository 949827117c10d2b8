/**
 * The envelopes of one site that are not confirmed yet, and which of them to send when.
 *
 * Unanswered until its Ack, acknowledged until it comes back in the log's order, since a snapshot taken before that does
 * not hold it. Sending is go-back-N: a refusal for now sends everything from there on again.
 */

import type { LiveTree } from "./tree.ts";
import type { Envelope } from "./wire/messages.ts";

export interface PendingEnvelope {
  envelope: Envelope;
  ackedSeq: number | undefined;
  /** Whether the tree shows it; false when what it refers to was refused. */
  isApplied: boolean;
  /** The tree in which it had a place, if the present one has none for it. */
  stoodIn?: LiveTree | undefined;
}

export function lastCounter({ counter, ops }: Envelope): number {
  return counter + ops.length - 1;
}

/** Envelopes in one frame: far under the frame limit for what people do by hand. */
const ENVELOPES_PER_FRAME_MAX = 50;

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
    this.entries.push({ envelope, ackedSeq: undefined, isApplied });
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

  /** Groups of envelopes, a frame each, noted as sent. */
  takeToSend(nowMs: number): Envelope[][] {
    if (nowMs < this.sendAfterMs) return [];
    const unsent = this.unsent();
    const groups: Envelope[][] = [];
    for (let at = 0; at < unsent.length; at += ENVELOPES_PER_FRAME_MAX) groups.push(unsent.slice(at, at + ENVELOPES_PER_FRAME_MAX));
    const last = unsent.at(-1);
    if (last) this.sentBelow = lastCounter(last) + 1;
    return groups;
  }

  private unsent(): Envelope[] {
    return this.unanswered.filter(({ envelope }) => envelope.counter >= this.sentBelow).map(({ envelope }) => envelope);
  }
}
