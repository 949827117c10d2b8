/**
 * One replica of a room, without I/O: messages in, notifications and messages out; time comes in as `nowMs`.
 *
 * Own and remote operations are applied to one tree, since they commute. When the server refuses an edit for good, or
 * lowers its stamp, or something of the log is missing, the replica asks for a resync: a snapshot with the log behind it up to
 * what was shown before (`incoming.ts`) takes the tree's place, and what is still pending is put on it.
 */

import { HybridClock, isDecidedByStamps } from "./clock.ts";
import { isPurge, tryApply } from "./applying.ts";
import { Edit } from "./edit.ts";
import { CollabKernelError, RejectedError } from "./errors.ts";
import { keyOf, type IdKey, type OpId } from "./ids.ts";
import { Incoming, Resyncing, type LoggedOp } from "./incoming.ts";
import { PENDING_ENVELOPES_MAX } from "./limits.ts";
import { lastCounter, PendingQueue, type PendingEnvelope } from "./pending.ts";
import { reissue, type Orphan } from "./reissue.ts";
import { LiveTree, type Change, type TextNode } from "./tree.ts";
import {
  Role,
  SessionKind,
  type Ack,
  type ClientMessage,
  type Envelope,
  type Hello,
  type Op,
  type OpBody,
  type PresenceBatch,
  type PresenceEntry,
  type Reject,
  type RoomEvent,
  type ServerMessage,
  type Snapshot,
  type StoredEnvelope,
  type Welcome,
} from "./wire/messages.ts";

export type Notification =
  | { readonly kind: "changed"; readonly changes: readonly Change[]; readonly actor: string; readonly site: number; readonly isRemote: boolean }
  /** The state was replaced by a snapshot. */
  | { readonly kind: "reset" }
  | { readonly kind: "welcomed"; readonly welcome: Welcome }
  /** All that the room had when this replica joined is here. */
  | { readonly kind: "caughtUp" }
  /** The server refused an edit for good; its effects are gone or about to go. */
  | { readonly kind: "refused"; readonly error: RejectedError }
  | { readonly kind: "presence" }
  | { readonly kind: "pending" }
  | { readonly kind: "event"; readonly event: RoomEvent }
  | { readonly kind: "notice"; readonly error: CollabKernelError }
  | { readonly kind: "bye"; readonly code: string; readonly reason: string; readonly retryAfterMs: number };

const targetOf = ({ targetSite, targetCounter }: Op): IdKey => keyOf({ site: targetSite, counter: targetCounter });

export class Replica {
  tree = new LiveTree(0);
  readonly clock = new HybridClock();
  /** The last Welcome; undefined before the first. */
  welcome: Welcome | undefined;
  isCaughtUp = false;
  isDegraded = false;
  readonly presence = new Map<number, PresenceEntry>();
  private readonly client: string;
  private pending = new PendingQueue();
  private secret: Uint8Array | undefined;
  private site = 0;
  /** Everything up to this seq is in the tree. */
  private through = 0;
  /** The operation at a seq, when it is known: a resume names it, so that the server sees whether the logs agree. */
  private lastOp: LoggedOp | undefined;
  private readonly resync = new Resyncing();
  /** Unanswered envelopes of lost sites, to be made again under the present one when its state is here. */
  private orphans: Orphan[] = [];
  /** The last purge in the tree. */
  private purgedSeq = 0;
  /** What the log has reached for sure, from before a purge had this join anew: the server that it came to may be behind. */
  private seenSeq = 0;
  private edit: Edit | undefined;
  private wasRefusedResume = false;
  private readonly unfitSeqs = new Set<number>();

  constructor(client: string) {
    this.client = client;
  }

  get siteId(): number {
    return this.site;
  }

  get isReadOnly(): boolean {
    return this.welcome?.role !== Role.WRITER;
  }

  /** Envelopes that the server has not judged. */
  get pendingCount(): number {
    return this.pending.unanswered.length + this.orphans.length;
  }

  // ---------------------------------------------------------------- joining

  /** The first message of a new connection. */
  hello(): Hello {
    this.isCaughtUp = false;
    const base = { kind: SessionKind.PERSON, client: this.client };
    if (this.secret === undefined || this.wasRefusedResume) return base;
    const known = this.lastOp?.seq === this.through ? this.lastOp : undefined;
    const resume = { site: this.site, secret: this.secret, through: known?.seq ?? 0 };
    // Without the operation at `through` the server cannot compare logs: it sends all, and what is known changes nothing.
    return { ...base, resume: known === undefined ? resume : { ...resume, throughOp: known.id } };
  }

  private onWelcome(welcome: Welcome, nowMs: number, out: Notification[]): void {
    this.welcome = welcome;
    this.isDegraded = false;
    this.clock.setServerTime(welcome.serverTimeMs, nowMs);
    this.presence.clear();
    this.wasRefusedResume = false;
    if (welcome.secret !== undefined) this.secret = welcome.secret;
    const firstCounter = this.pending.unanswered[0]?.envelope.counter ?? this.pending.nextCounter;
    // After a restored backup the log may lack envelopes that it had acknowledged: the counters begin anew there.
    if (welcome.site !== this.site || (welcome.resync && welcome.nextCounter < firstCounter)) this.moveToSite(welcome, out);
    else if (welcome.resync && welcome.seq === 0) {
      const before = this.tree;
      this.startAgain();
      this.putPendingOn(before, out);
    } else if (welcome.resync) this.through = Math.min(this.through, welcome.seq);
    this.resync.connected(welcome.resync && welcome.seq > 0);
    this.pending.startOver();
    out.push({ kind: "welcomed", welcome });
    this.noteCaughtUp(out);
  }

  /** A new site, which begins with the server's state; see `adopt` for what the old one has not sent. */
  private moveToSite({ site, nextCounter }: Welcome, out: Notification[]): void {
    const oldSite = this.site;
    this.orphans.push(...this.pending.unanswered.map(({ envelope, stoodIn }) => ({ site: oldSite, envelope, stoodIn: stoodIn ?? this.tree })));
    this.site = site;
    this.pending = new PendingQueue(nextCounter);
    this.startAgain();
    if (oldSite !== 0) out.push({ kind: "reset" });
  }

  /** Make again what lost sites had not sent, now that the state shows what of it was stored. */
  private adopt(out: Notification[]): void {
    const isStored = ({ site, envelope }: Orphan): boolean =>
      envelope.ops.some((op, i) => this.tree.hasMade({ site, counter: envelope.counter + i }, op));
    if (this.orphans.length === 0) return;
    const lost = this.orphans.filter((each) => !isStored(each));
    this.orphans = [];
    if (lost.length === 0) return;
    const made = reissue(lost, this.site, this.pending.nextCounter, this.tree);
    let isAnyLost = false;
    let next = made.next();
    for (; next.done !== true; next = made.next()) {
      // One that does not fit any more keeps its counters, and the server says why it is refused.
      const envelope = { ...next.value, base: this.through };
      const isApplied = tryApply(this.tree, this.site, envelope) !== undefined;
      this.pending.add(envelope, isApplied);
      isAnyLost ||= !isApplied;
    }
    isAnyLost ||= next.value;
    if (isAnyLost) out.push({ kind: "refused", error: new RejectedError("site-lost", "some edits that had not reached the server were lost") });
    out.push({ kind: "reset" }, { kind: "pending" });
  }

  private startAgain(): void {
    this.tree = new LiveTree(this.site);
    this.through = 0;
    this.lastOp = undefined;
    this.purgedSeq = 0;
    this.resync.came();
  }

  private noteCaughtUp(out: Notification[]): void {
    if (this.isCaughtUp || this.welcome === undefined || this.resync.isUnderWay || this.through < Math.max(this.welcome.seq, this.seenSeq)) return;
    this.isCaughtUp = true;
    this.seenSeq = 0;
    this.adopt(out);
    out.push({ kind: "caughtUp" });
  }

  // ---------------------------------------------------------------- receiving

  /** Take one message, its members in the order of the fields. */
  receive(message: ServerMessage, nowMs: number): Notification[] {
    const out: Notification[] = [];
    if (message.welcome) this.onWelcome(message.welcome, nowMs, out);
    if (message.snapshot) this.onSnapshot(message.snapshot, out);
    for (const { actors, envelopes } of message.ops) {
      for (const stored of envelopes) this.onStored(stored, actors[stored.actor] as string, nowMs, out);
    }
    this.takeIncoming(out);
    for (const ack of message.acks) this.onAck(ack, nowMs, out);
    for (const reject of message.rejects) this.onReject(reject, nowMs, out);
    if (message.presence.length > 0) this.onPresence(message.presence, out);
    for (const event of message.events) out.push({ kind: "event", event });
    for (const { code, reason, retryAfterMs } of message.notices) this.onNotice(code, reason, nowMs + retryAfterMs, out);
    if (message.degraded) {
      this.isDegraded = message.degraded.on;
      if (!this.isDegraded) this.pending.startOver(); // what was on its way when it began was never read
    }
    if (message.through > this.reached) this.resync.want();
    this.noteCaughtUp(out);
    if (message.bye) this.onBye(message.bye.code, message.bye.reason, message.bye.retryAfterMs, out);
    return out;
  }

  /** How far the log is here. */
  private get reached(): number {
    return this.resync.incoming?.through ?? this.through;
  }

  private onSnapshot(snapshot: Snapshot, out: Notification[]): void {
    const incoming = new Incoming(snapshot, this.site, this.through);
    this.clock.observe(incoming.hlc);
    this.resync.came(incoming);
    this.takeIncoming(out);
  }

  /** Show the state that has come, when it has all that was shown before. */
  private takeIncoming(out: Notification[]): void {
    const { incoming } = this.resync;
    if (incoming === undefined || !incoming.isComplete || this.resync.ignoresLog) return;
    const before = this.tree;
    this.tree = incoming.tree;
    this.through = incoming.through;
    this.lastOp = incoming.lastOp;
    this.purgedSeq = incoming.purgedSeq;
    this.resync.came();
    this.pending.confirmThrough(this.through);
    this.putPendingOn(before, out);
  }

  /** Put what is pending on a new tree. The server may not take what has no place there: note where it had one. */
  private putPendingOn(before: LiveTree, out: Notification[]): void {
    for (const entry of this.pending.all) {
      entry.isApplied = tryApply(this.tree, this.site, entry.envelope) !== undefined;
      entry.stoodIn = entry.isApplied ? undefined : (entry.stoodIn ?? before);
    }
    out.push({ kind: "reset" });
  }

  private onStored(stored: StoredEnvelope, actor: string, nowMs: number, out: Notification[]): void {
    const { seq, site, envelope } = stored;
    const { incoming, ignoresLog } = this.resync;
    if (ignoresLog || seq + envelope.ops.length - 1 <= this.reached) return;
    if (seq !== this.reached + 1) {
      this.resync.want(); // something is missing in between
      return;
    }
    this.clock.observe(envelope.hlc + BigInt(envelope.ops.length - 1));
    const mine = site === this.site ? this.pending.find(envelope.counter) : undefined;
    if (mine !== undefined) {
      this.pending.remove(envelope.counter);
      this.onStamps(mine, envelope.hlc, nowMs);
      out.push({ kind: "pending" });
    }
    if (incoming === undefined) this.apply(stored, mine, actor, out);
    else if (!incoming.take(stored)) this.onUnfit(seq);
  }

  /** Apply what comes next in the log to what is shown. */
  private apply({ seq, site, envelope }: StoredEnvelope, mine: PendingEnvelope | undefined, actor: string, out: Notification[]): void {
    this.through = seq + envelope.ops.length - 1;
    this.lastOp = { seq: this.through, id: { site, counter: lastCounter(envelope) } };
    if (mine?.isApplied === true) return;
    if (this.isPurgeOfPending(envelope)) {
      // They may keep something here that has gone elsewhere, and this tree tells where they stand.
      this.resync.want(seq);
      return;
    }
    const changes = tryApply(this.tree, site, envelope);
    if (isPurge(envelope)) this.purgedSeq = this.through;
    if (changes === undefined) this.onUnfit(seq);
    else if (changes.length > 0) out.push({ kind: "changed", changes, actor, site, isRemote: site !== this.site });
  }

  /** The log holds what does not fit here: this tree is not what the log says. */
  private onUnfit(seq: number): void {
    // Once a seq, or a fault of ours would have us ask for ever.
    if (!this.unfitSeqs.has(seq)) this.resync.want();
    this.unfitSeqs.add(seq);
  }

  /** Whether edits that are on their way are in what an envelope purges. */
  private isPurgeOfPending({ ops }: Envelope): boolean {
    // One with ids at the root names blocks, of which nothing is here.
    const isHere = (op: Op): boolean => op.kind === "purge" && (op.targetCounter > 0 || op.body.runs.length === 0);
    const targets = new Set(ops.filter(isHere).map(targetOf));
    return targets.size > 0 && this.pending.all.some(({ envelope }) => envelope.ops.some((op) => targets.has(targetOf(op))));
  }

  /** An own envelope is stored, with these stamps. What they decide, when they are others, the server's state tells. */
  private onStamps(entry: PendingEnvelope, hlc: bigint, nowMs: number): void {
    const isLowered = hlc !== entry.envelope.hlc;
    if (isLowered) entry.envelope = { ...entry.envelope, hlc };
    const isStateComing = this.resync.incoming !== undefined; // which has it with these stamps
    if (isLowered && entry.isApplied && !isStateComing && isDecidedByStamps(entry.envelope)) this.resync.want();
    this.clock.answered(entry.envelope, isLowered, this.pending.unanswered.length === 0, nowMs);
  }

  private onAck({ counter, seq, hlc }: Ack, nowMs: number, out: Notification[]): void {
    const entry = this.pending.find(counter);
    if (entry === undefined) return;
    entry.ackedSeq = seq;
    this.onStamps(entry, hlc === 0n ? entry.envelope.hlc : hlc, nowMs);
    if (seq <= this.through) {
      this.pending.remove(counter);
      // What it made may have gone since, and was put on all the same.
      if (seq < this.purgedSeq) this.resync.want();
    }
    out.push({ kind: "pending" });
  }

  private onReject({ counter, code, reason, final, retryAfterMs }: Reject, nowMs: number, out: Notification[]): void {
    if (!final) {
      this.pending.goBack(counter, nowMs + retryAfterMs);
      // What was sent before it the server has taken; from there on it is made again, under a new site.
      if (code === "purged") {
        const ends = this.pending.all.map(({ ackedSeq, envelope }) => (ackedSeq === undefined ? 0 : ackedSeq + envelope.ops.length - 1));
        this.seenSeq = Math.max(this.through, ...ends);
        for (const entry of this.pending.unanswered) if (entry.envelope.counter < counter) entry.ackedSeq = this.through;
      }
      return;
    }
    const entry = this.pending.find(counter);
    if (entry === undefined) return;
    this.pending.remove(counter);
    if (entry.isApplied) this.resync.want();
    out.push({ kind: "refused", error: new RejectedError(code, reason) }, { kind: "pending" });
  }

  private onPresence(batches: readonly PresenceBatch[], out: Notification[]): void {
    for (const { entries, moves } of batches) {
      for (const entry of entries) {
        if (entry.left) this.presence.delete(entry.site);
        else this.presence.set(entry.site, entry);
      }
      for (const { site, stateJson, block } of moves) {
        const known = this.presence.get(site);
        if (known === undefined) continue;
        const { block: _, ...entry } = known;
        this.presence.set(site, { ...entry, stateJson, ...(block && { block }) });
      }
    }
    out.push({ kind: "presence" });
  }

  private onNotice(code: string, reason: string, retryAtMs: number, out: Notification[]): void {
    if (code === "rate") this.resync.refused(retryAtMs);
    out.push({ kind: "notice", error: new CollabKernelError(code, reason) });
  }

  private onBye(code: string, reason: string, retryAfterMs: number, out: Notification[]): void {
    if (code === "bad-resume" || code === "purged") this.wasRefusedResume = true;
    if (code === "bad-resume") this.seenSeq = 0;
    out.push({ kind: "bye", code, reason, retryAfterMs });
  }

  /** Something that the server sent could not be read: start again from a snapshot. */
  requestResync(): void {
    this.resync.want();
  }

  /** The connection is gone; who was there is not known any more. */
  disconnected(): void {
    this.isCaughtUp = false;
    this.presence.clear();
  }

  // ---------------------------------------------------------------- sending

  /** What may be sent now. */
  takeToSend(nowMs: number): ClientMessage[] {
    const messages: ClientMessage[] = [];
    if (this.welcome === undefined) return messages;
    if (this.resync.takeRequest(nowMs)) messages.push({ kind: "resync", body: {} });
    if (!this.isDegraded) {
      for (const envelopes of this.pending.takeToSend(nowMs, this.welcome.limits.frameBytes)) messages.push({ kind: "submit", body: { envelopes } });
    }
    return messages;
  }

  /** Milliseconds until something that waits may be sent; undefined when nothing waits. */
  waitMs(nowMs: number): number | undefined {
    const resyncMs = this.resync.waitMs(nowMs);
    const submitMs = this.isDegraded ? undefined : this.pending.waitMs(nowMs);
    return resyncMs === undefined || submitMs === undefined ? (resyncMs ?? submitMs) : Math.min(resyncMs, submitMs);
  }

  // ---------------------------------------------------------------- editing

  /**
   * Run `change`, whose edits become one envelope; taken back whole when it throws. Nested calls join the outer one.
   *
   * Returns the notification to show, undefined when nothing was edited.
   */
  transact(nowMs: number, change: () => void): Notification | undefined {
    if (this.edit !== undefined) {
      change();
      return undefined;
    }
    const { actor, limits } = this.checkWritable();
    const edit = new Edit(this.clock.take(nowMs, 1), limits);
    this.edit = edit;
    try {
      change();
    } catch (error) {
      edit.rollBack();
      throw error;
    } finally {
      this.edit = undefined;
    }
    if (edit.ops.length === 0) return undefined;
    this.pending.add({ counter: this.pending.nextCounter, base: this.resync.base(this.through), hlc: edit.hlc, ops: edit.ops });
    return { kind: "changed", changes: edit.changes, actor, site: this.site, isRemote: false };
  }

  /** Make one operation, inside `transact`; returns its id. */
  push(target: OpId, body: OpBody): OpId {
    const edit = this.openEdit();
    const id = { site: this.site, counter: this.pending.nextCounter + edit.ops.length };
    const op: Op = { targetSite: target.site, targetCounter: target.counter, ...body };
    const opBytes = edit.check(op, this.tree);
    const change = this.tree.apply(id, { hlc: edit.nextHlc, site: this.site }, op, edit.undos);
    this.clock.advance(edit.nextHlc);
    edit.keep(op, opBytes, change);
    return id;
  }

  /** Edit a text, inside `transact`. */
  pushText(node: TextNode, index: number, deleteCount: number, insert: string): void {
    const edit = this.openEdit();
    edit.checkInsert(insert);
    const made = this.tree.editText(node, index, deleteCount, insert, edit.undos);
    if (made === undefined) return;
    const op: Op = { targetSite: node.id.site, targetCounter: node.id.counter, kind: "textEdit", body: { update: made.update } };
    try {
      const opBytes = edit.check(op, this.tree);
      this.clock.advance(edit.nextHlc);
      edit.keep(op, opBytes, made.change);
    } catch (error) {
      edit.undos.pop()?.(); // whoever catches it inside `transact` goes on without it
      throw error;
    }
  }

  private openEdit(): Edit {
    if (this.edit === undefined) throw new CollabKernelError("local-error", "edits are made inside transact()");
    this.edit.checkCount();
    return this.edit;
  }

  private checkWritable(): Welcome {
    if (this.welcome === undefined) throw new CollabKernelError("local-error", "the room has not answered yet");
    if (this.isReadOnly) throw new CollabKernelError("read-only", "you may read this room but not write to it");
    if (this.pending.all.length >= PENDING_ENVELOPES_MAX) {
      throw new CollabKernelError("too-many", `${PENDING_ENVELOPES_MAX} edits wait for the server already`);
    }
    return this.welcome;
  }
}
