/** A server in this process that does as the real one: one log, echo to the author too, acks, go-back-N, resume. */

import { LiveTree } from "../src/tree.ts";
import { lastCounter } from "../src/pending.ts";
import { toState } from "../src/state.ts";
import { clientMessage, roomState, serverMessage } from "../src/wire/codec.ts";
import type { ChannelHandlers, Dialer } from "../src/connection.ts";
import { InvalidOperationError } from "../src/errors.ts";
import { Kind, Role, type Envelope, type Hello, type Op, type ServerMessage, type Snapshot, type StoredEnvelope, type Welcome } from "../src/wire/messages.ts";

interface Site {
  readonly secret: Uint8Array;
  nextCounter: number;
  readonly refusals: Map<number, string>;
}

const LIMITS = { frameBytes: 2 ** 20, keyBytes: 1024, valueBytes: 256 * 1024, envelopeOps: 1000, depth: 64, presenceBytes: 4096, opsPerS: 2000 };

export const EMPTY: ServerMessage = { ops: [], acks: [], rejects: [], presence: [], events: [], notices: [], through: 0, filtered: [], contents: [] };

/** A snapshot of the room before its first operation. */
export const EMPTY_STATE = roomState.encode({
  seq: 0,
  hlc: 0n,
  containers: [{ id: { site: 0, counter: 0 }, kind: Kind.OBJECT, homeKey: "", afterHlc: 0n, afterSite: 0, entries: [], slots: [], elements: [], yjsState: new Uint8Array(), floorHlc: 0n, floorSite: 0 }],
  blocks: [],
  purgedSeq: 0,
});

/** A site that no session is given here. */
const KEEPER = 9999;

export class FakeServer {
  log: StoredEnvelope[] = [];
  tree = new LiveTree(0);
  readonly sessions = new Set<FakeSession>();
  readonly sites = new Map<number, Site>();
  head = 0;
  lastSite = 0;
  nowMs = 1_800_000_000_000;
  role: Role = Role.WRITER;
  /** Refuse for now the next so many envelopes. */
  ratedCount = 0;
  /** Read no envelope: the database is away. */
  isAway = false;
  /** Lower every stamp by this, as for a client whose clock is ahead. */
  lowerBy = 0n;
  /** Lower every stamp that is above this. */
  stampMax: bigint | undefined;
  /** How often a resync was asked for. */
  resyncsCount = 0;
  /** Whether a snapshot is of the log's head; else it is of `snapshotSeq`, and all operations behind it follow. */
  isSnapshotOfHead = false;
  snapshotSeq = 0;
  /** The operations behind a snapshot come at the next flush. */
  isLogLate = false;
  /** A site that is new knows nothing of the last so many envelopes until the next flush: its server is behind. */
  behind = 0;
  /** The line breaks when the next so many resyncs are asked for. */
  lostResyncsCount = 0;
  limits = LIMITS;
  /** Bytes of each frame that came. */
  readonly frameSizes: number[] = [];
  /** Every Hello, in order. */
  readonly hellos: Hello[] = [];
  /** Refuse for good what this says. */
  isRefused: (envelope: Envelope) => boolean = () => false;

  /** A dialer whose channels deliver at once, unless `hold` is set on the session. */
  dialer(via = "socket"): Dialer & { readonly last: FakeSession | undefined } {
    const self = this;
    let last: FakeSession | undefined;
    return {
      via,
      get last() {
        return last;
      },
      open(handlers) {
        const session = new FakeSession(self, handlers);
        last = session;
        queueMicrotask(() => handlers.onOpen());
        return { send: (frame) => session.receive(frame), close: () => session.close("closed by the client") };
      },
    };
  }

  /** The last operation that purged. */
  purgedSeq = 0;

  /** Purge, as the keeper of a room does. */
  purge(op: Extract<Op, { kind: "purge" }>): void {
    const counter = this.log.filter(({ site }) => site === KEEPER).length + 1;
    this.purgedSeq = this.store(KEEPER, { counter, base: this.head, hlc: 1n, ops: [op] }).seq;
  }

  store(site: number, envelope: Envelope): StoredEnvelope {
    const stored = { seq: this.head + 1, site, actor: 0, envelope };
    applyAll(this.tree, site, envelope);
    this.log.push(stored);
    this.head += envelope.ops.length;
    return stored;
  }

  /** A snapshot of the log up to a seq, at the end of an envelope. */
  snapshotAt(seq: number): Snapshot {
    const tree = new LiveTree(0);
    let hlc = 0n;
    for (const { site, envelope } of this.log.filter((each) => each.seq <= seq)) {
      applyAll(tree, site, envelope);
      const last = envelope.hlc + BigInt(envelope.ops.length - 1);
      if (last > hlc) hlc = last;
    }
    const op = this.opAt(seq);
    return { seq, encoding: 0, state: roomState.encode(toState(tree, seq, hlc)), ...(op && { op }) };
  }

  opAt(seq: number): { site: number; counter: number } | undefined {
    const stored = this.log.find((each) => each.seq <= seq && seq < each.seq + each.envelope.ops.length);
    return stored && { site: stored.site, counter: stored.envelope.counter + seq - stored.seq };
  }

  /** As from a backup that was made after so many envelopes. */
  restore(count: number): void {
    const kept = this.log.slice(0, count);
    this.log = [];
    this.head = 0;
    this.tree = new LiveTree(0);
    for (const site of this.sites.values()) site.nextCounter = 1;
    for (const { site, envelope } of kept) {
      this.store(site, envelope);
      (this.sites.get(site) as Site).nextCounter = lastCounter(envelope) + 1;
    }
  }

  /** Show everything that is stored to all sessions. */
  flush(): void {
    for (const session of this.sessions) session.catchUp();
  }
}

function applyAll(tree: LiveTree, site: number, { counter, hlc, ops }: Envelope): void {
  ops.forEach((op, i) => tree.apply({ site, counter: counter + i }, { hlc: hlc + BigInt(i), site }, op));
}

export class FakeSession {
  readonly server: FakeServer;
  private readonly handlers: ChannelHandlers;
  site = 0;
  cursor = 0;
  /** Frames wait here when set. */
  held: Uint8Array[] | undefined;
  /** What was shown of it, in order. */
  readonly shown: string[] = [];
  private isDropping = false;
  private isClosed = false;

  constructor(server: FakeServer, handlers: ChannelHandlers) {
    this.server = server;
    this.handlers = handlers;
  }

  receive(frame: Uint8Array): void {
    if (this.isClosed) return;
    this.server.frameSizes.push(frame.length);
    if (frame.length > this.server.limits.frameBytes) {
      this.send({ notices: [{ code: "frame-too-large", reason: "", retryAfterMs: 0 }] });
      return;
    }
    const message = clientMessage.decode(frame);
    if (message.kind === "hello") this.onHello(message.body);
    else if (message.kind === "submit") for (const envelope of message.body.envelopes) this.onEnvelope(envelope);
    else if (message.kind === "resync") this.onResync();
    else if (message.kind === "presence") this.shown.push(message.body.stateJson);
  }

  send(part: Partial<ServerMessage>): void {
    if (this.isClosed) return;
    const frame = serverMessage.encode({ ...EMPTY, ...part });
    if (this.held) this.held.push(frame);
    else this.handlers.onFrame(frame);
  }

  release(): void {
    const frames = this.held ?? [];
    this.held = undefined;
    for (const frame of frames) this.handlers.onFrame(frame);
  }

  /** Let the first frame through that waits. */
  releaseOne(): void {
    const frame = this.held?.shift();
    if (frame && !this.isClosed) this.handlers.onFrame(frame);
  }

  close(reason: string): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.server.sessions.delete(this);
    this.handlers.onClose(reason);
  }

  catchUp(): void {
    if (this.cursor >= this.server.head) return;
    const envelopes = this.server.log.filter(({ seq }) => seq > this.cursor);
    this.cursor = this.server.head;
    this.send({ ops: [{ actors: ["somebody"], envelopes }], through: this.cursor });
  }

  private onResync(): void {
    this.server.resyncsCount += 1;
    if (this.server.lostResyncsCount-- > 0) this.close("lost");
    else this.snapshot();
  }

  private snapshot(): void {
    const { head, log, isSnapshotOfHead, snapshotSeq, isLogLate } = this.server;
    const ends = log.map(({ seq, envelope }) => seq + envelope.ops.length - 1);
    this.cursor = isSnapshotOfHead ? head : Math.max(0, ...ends.filter((end) => end <= snapshotSeq));
    this.send({ snapshot: this.server.snapshotAt(this.cursor) });
    if (!isLogLate) this.catchUp();
  }

  private onHello(hello: Hello): void {
    const { server } = this;
    const { resume } = hello;
    server.hellos.push(hello);
    const known = resume && server.sites.get(resume.site);
    if (resume && known === undefined) {
      this.send({ bye: { code: "bad-resume", reason: "unknown site", retryAfterMs: 0 } });
      this.close("bad-resume");
      return;
    }
    this.site = resume?.site ?? ++server.lastSite;
    const site: Site = known ?? { secret: new Uint8Array(16).fill(this.site), nextCounter: 1, refusals: new Map() };
    server.sites.set(this.site, site);
    for (const other of server.sessions) if (other.site === this.site) other.close("superseded");
    server.sessions.add(this);
    const at = resume?.throughOp && server.opAt(resume.through);
    const agrees = resume !== undefined && (resume.through === 0 || (at?.site === resume.throughOp?.site && at?.counter === resume.throughOp?.counter));
    this.cursor = agrees ? resume.through : 0;
    const { head, log } = server;
    const isBehind = resume === undefined && server.behind > 0;
    if (isBehind) {
      server.log = log.slice(0, -server.behind);
      server.head = (log.at(-server.behind)?.seq ?? 1) - 1;
    }
    const welcome: Welcome = {
      site: this.site,
      ...(resume === undefined && { secret: site.secret }),
      seq: server.head,
      serverTimeMs: server.nowMs,
      role: server.role,
      actor: "somebody",
      name: "Somebody",
      color: "#336699",
      limits: server.limits,
      nextCounter: site.nextCounter,
      resync: resume !== undefined && !agrees,
    };
    this.send({ welcome });
    if (!agrees && server.head > 0) this.snapshot();
    else this.catchUp();
    if (isBehind) {
      server.head = head;
      server.log = log;
    }
  }

  private onEnvelope(sent: Envelope): void {
    const { server } = this;
    const site = server.sites.get(this.site) as Site;
    if (server.isAway || this.isClosed) return;
    if (sent.counter < site.nextCounter) {
      const stored = server.log.find((each) => each.site === this.site && each.envelope.counter === sent.counter);
      const code = site.refusals.get(sent.counter);
      if (stored) this.send({ acks: [{ counter: sent.counter, seq: stored.seq, hlc: stored.envelope.hlc, buffered: false }] });
      else this.reject(sent.counter, code ?? "invalid-operation", true);
      return;
    }
    if (sent.counter > site.nextCounter) {
      if (!this.isDropping) this.reject(site.nextCounter, "counter-gap", false);
      return;
    }
    this.isDropping = server.ratedCount > 0;
    if (this.isDropping) {
      server.ratedCount -= 1;
      this.reject(sent.counter, "rate", false);
      return;
    }
    site.nextCounter = lastCounter(sent) + 1;
    const { lowerBy, stampMax = sent.hlc } = server;
    const hlc = sent.hlc - lowerBy;
    const envelope = { ...sent, hlc: hlc > stampMax ? stampMax : hlc };
    try {
      if (server.isRefused(sent)) throw new InvalidOperationError("invalid-operation", "refused by the test");
      const { seq } = server.store(this.site, envelope);
      this.send({ acks: [{ counter: sent.counter, seq, hlc: envelope.hlc === sent.hlc ? 0n : envelope.hlc, buffered: false }] });
    } catch (error) {
      if (!(error instanceof InvalidOperationError)) throw error;
      if (sent.base < server.purgedSeq) {
        site.nextCounter = sent.counter;
        const rejects = [{ counter: sent.counter, code: "purged", reason: "", final: false, retryAfterMs: 0 }];
        this.send({ rejects, bye: { code: "purged", reason: "", retryAfterMs: 0 } });
        this.close("purged");
        return;
      }
      site.refusals.set(sent.counter, error.code);
      this.reject(sent.counter, error.code, true);
    }
  }

  private reject(counter: number, code: string, final: boolean): void {
    this.send({ rejects: [{ counter, code, reason: "", final, retryAfterMs: 0 }] });
  }
}
