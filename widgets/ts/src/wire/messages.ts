/** The decoded messages of `collabkernel.v1`, as `collab.proto` and `collabkernel/wire/messages.py` have them. */

import type { OpId } from "../ids.ts";

// Numbers of the enums; `const` objects rather than `enum`, which leaves no code behind.
export const Kind = { OBJECT: 1, MAP: 2, LIST: 3, TEXT: 4 } as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

export const Side = { LEFT: 1, RIGHT: 2 } as const;
export type Side = (typeof Side)[keyof typeof Side];

export const Slot = { CHILD: 1, INLINE: 2 } as const;
export type Slot = (typeof Slot)[keyof typeof Slot];

export const SessionKind = { PERSON: 1, SCRIPT: 2, AGENT: 3 } as const;
export type SessionKind = (typeof SessionKind)[keyof typeof SessionKind];

export const Role = { READER: 1, WRITER: 2 } as const;
export type Role = (typeof Role)[keyof typeof Role];

/** A new, empty container; `afterHlc` and `afterSite` only with `shared`. */
export interface NewContainer {
  readonly kind: Kind;
  readonly shared: boolean;
  readonly afterHlc: bigint;
  readonly afterSite: number;
}

/** A scalar with its type on the wire: JavaScript alone cannot tell 1 from 1.0. */
export type WireScalar =
  | { readonly kind: "null"; readonly body: true }
  | { readonly kind: "boolean"; readonly body: boolean }
  | { readonly kind: "integer"; readonly body: number | bigint }
  | { readonly kind: "number"; readonly body: number }
  | { readonly kind: "text"; readonly body: string }
  | { readonly kind: "data"; readonly body: Uint8Array };

/** The value in an operation. */
export type WireValue = WireScalar | { readonly kind: "container"; readonly body: NewContainer };

/** The value in a register of a snapshot. */
export type StoredWireValue = WireScalar | { readonly kind: "container"; readonly body: OpId };

export interface MapSet {
  readonly key: string;
  readonly value: WireValue;
}
export interface MapDelete {
  readonly key: string;
}
/** `parent` undefined: the start of the list. */
export interface ListInsert {
  readonly parent?: OpId;
  readonly side: Side;
  readonly value: WireValue;
}
export interface ListDelete {
  readonly element: OpId;
}
export interface ListMove {
  readonly element: OpId;
  readonly parent?: OpId;
  readonly side: Side;
}
export interface ListSet {
  readonly element: OpId;
  readonly value: WireValue;
}
export interface TextEdit {
  readonly update: Uint8Array;
}

/** Operations on block documents. This replica has none: it reads them, and passes them over. */
export interface NewDocument {
  readonly name: string;
}
/** The target is the parent. */
export interface BlockInsert {
  readonly slot: Slot;
  readonly key: string;
  readonly type: string;
  readonly split?: OpId;
}
export interface BlockMove {
  readonly parent: OpId;
  readonly slot: Slot;
  readonly key: string;
}
export type BlockDelete = Record<string, never>;
export interface BlockKey {
  readonly block: OpId;
  readonly key: string;
}
export interface BlockRekey {
  readonly slot: Slot;
  readonly keys: readonly BlockKey[];
}

/** Operations of one site that follow each other: the first, and `more` behind it. */
export interface IdRun {
  readonly site: number;
  readonly counter: number;
  readonly more: number;
}
/** What was deleted long ago: slots of a list, or a map's deleted keys up to a stamp. */
export interface Purge {
  readonly runs: readonly IdRun[];
  readonly floorHlc: bigint;
  readonly floorSite: number;
}
export interface PurgeBody {
  readonly kind: "purge";
  readonly body: Purge;
}

export type OpBody = LiveOpBody | TreeOpBody | PurgeBody;

export type TreeOpBody =
  | { readonly kind: "newDocument"; readonly body: NewDocument }
  | { readonly kind: "blockInsert"; readonly body: BlockInsert }
  | { readonly kind: "blockMove"; readonly body: BlockMove }
  | { readonly kind: "blockDelete"; readonly body: BlockDelete }
  | { readonly kind: "blockRekey"; readonly body: BlockRekey };

export type LiveOpBody =
  | { readonly kind: "mapSet"; readonly body: MapSet }
  | { readonly kind: "mapDelete"; readonly body: MapDelete }
  | { readonly kind: "listInsert"; readonly body: ListInsert }
  | { readonly kind: "listDelete"; readonly body: ListDelete }
  | { readonly kind: "listMove"; readonly body: ListMove }
  | { readonly kind: "listSet"; readonly body: ListSet }
  | { readonly kind: "textEdit"; readonly body: TextEdit };

/** An operation on the container (targetSite, targetCounter); its own id and stamp follow from its envelope. */
export type LiveOp = LiveOpBody & { readonly targetSite: number; readonly targetCounter: number };
export type Op = OpBody & { readonly targetSite: number; readonly targetCounter: number };

/** What belongs together: op i has counter + i and hlc + i. */
export interface Envelope {
  readonly counter: number;
  readonly base: number;
  readonly hlc: bigint;
  readonly ops: readonly Op[];
}

/** An envelope as the log has it; `actor` is an index into `Ops.actors`. */
export interface StoredEnvelope {
  readonly seq: number;
  readonly site: number;
  readonly actor: number;
  readonly envelope: Envelope;
}

// ---------------------------------------------------------------- client to server

export interface Resume {
  readonly site: number;
  readonly secret: Uint8Array;
  readonly through: number;
  readonly throughOp?: OpId;
}
export interface Hello {
  readonly kind: SessionKind;
  readonly client: string;
  readonly resume?: Resume;
}
export interface Submit {
  readonly envelopes: readonly Envelope[];
}
/** `block` is where the session is in a document: those who look there are told, else all. */
export interface Presence {
  readonly stateJson: string;
  readonly block?: OpId;
}
export interface Event {
  readonly name: string;
  readonly payloadJson: string;
}

export interface Viewport {
  readonly blocks: readonly OpId[];
}

export type ClientMessage =
  | { readonly kind: "hello"; readonly body: Hello }
  | { readonly kind: "submit"; readonly body: Submit }
  | { readonly kind: "presence"; readonly body: Presence }
  | { readonly kind: "event"; readonly body: Event }
  | { readonly kind: "resync"; readonly body: Record<string, never> }
  | { readonly kind: "viewport"; readonly body: Viewport };

// ---------------------------------------------------------------- server to client

export interface ClientLimits {
  readonly frameBytes: number;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly envelopeOps: number;
  readonly depth: number;
  readonly presenceBytes: number;
  readonly opsPerS: number;
}
export interface Welcome {
  readonly site: number;
  readonly secret?: Uint8Array;
  readonly seq: number;
  readonly serverTimeMs: number;
  readonly role: Role;
  readonly actor: string;
  readonly name: string;
  readonly color: string;
  readonly limits: ClientLimits;
  readonly nextCounter: number;
  readonly resync: boolean;
}
/** `state` is an encoded RoomState, as sent: `encoding` 1 is zlib. `op` is the operation at `seq`, undefined at 0. */
export interface Snapshot {
  readonly seq: number;
  readonly encoding: number;
  readonly state: Uint8Array;
  readonly op?: OpId;
}
export interface Ops {
  readonly actors: readonly string[];
  readonly envelopes: readonly StoredEnvelope[];
}
/** `hlc` 0: the stamp was kept. */
export interface Ack {
  readonly counter: number;
  readonly seq: number;
  readonly hlc: bigint;
  readonly buffered: boolean;
}
export interface Reject {
  readonly counter: number;
  readonly code: string;
  readonly reason: string;
  readonly final: boolean;
  readonly retryAfterMs: number;
}
export interface PresenceEntry {
  readonly site: number;
  readonly actor: string;
  readonly name: string;
  readonly color: string;
  readonly kind: SessionKind;
  readonly stateJson: string;
  readonly left: boolean;
  readonly block?: OpId;
}
/** What a session shows now of which the client has the entry. */
export interface PresenceMove {
  readonly site: number;
  readonly stateJson: string;
  readonly block?: OpId;
}
/** How many sessions are in one block, where they are, or were, more than are told of. */
export interface PresenceCluster {
  readonly block: OpId;
  readonly count: number;
}
export interface PresenceBatch {
  readonly entries: readonly PresenceEntry[];
  readonly moves: readonly PresenceMove[];
  readonly clusters: readonly PresenceCluster[];
  /** Who is in a block of the viewport and is not told of here, is not there any more. */
  readonly whole: boolean;
}
export interface RoomEvent {
  readonly site: number;
  readonly actor: string;
  readonly name: string;
  readonly payloadJson: string;
}
export interface Notice {
  readonly code: string;
  readonly reason: string;
  readonly retryAfterMs: number;
}
export type Bye = Notice;

/** All that one frame holds, to be taken in the order of the fields. */
export interface Contents {
  readonly encoding: number;
  readonly blocks: Uint8Array;
  readonly lost: readonly OpId[];
}
export interface ServerMessage {
  readonly welcome?: Welcome;
  readonly snapshot?: Snapshot;
  readonly ops: readonly Ops[];
  readonly acks: readonly Ack[];
  readonly rejects: readonly Reject[];
  readonly presence: readonly PresenceBatch[];
  readonly events: readonly RoomEvent[];
  readonly notices: readonly Notice[];
  readonly degraded?: { readonly on: boolean };
  readonly bye?: Bye;
  readonly through: number;
  /** To sessions with a viewport, which this client has none of. */
  readonly filtered: readonly Ops[];
  readonly throughOp?: OpId;
  readonly contents: readonly Contents[];
}

// ---------------------------------------------------------------- state, in snapshots

/** `value` undefined: a tombstone. */
export interface RegisterState {
  readonly hlc: bigint;
  readonly site: number;
  readonly value?: StoredWireValue;
}
export interface MapEntryState {
  readonly key: string;
  readonly register: RegisterState;
}
export interface SlotState {
  readonly id: OpId;
  readonly parent?: OpId;
  readonly side: Side;
}
/** A deleted one has no registers. */
export interface ElementState {
  readonly id: OpId;
  readonly value?: RegisterState;
  readonly positionHlc: bigint;
  readonly positionSite: number;
  readonly slot?: OpId;
  readonly deleted: boolean;
}
export interface ContainerState {
  readonly id: OpId;
  readonly kind: Kind;
  readonly home?: OpId;
  readonly homeKey: string;
  readonly homeElement?: OpId;
  readonly afterHlc: bigint;
  readonly afterSite: number;
  readonly entries: readonly MapEntryState[];
  readonly slots: readonly SlotState[];
  readonly elements: readonly ElementState[];
  readonly yjsState: Uint8Array;
  readonly floorHlc: bigint;
  readonly floorSite: number;
}
export interface RoomState {
  readonly seq: number;
  readonly hlc: bigint;
  readonly containers: readonly ContainerState[];
  /** Block documents, unread. */
  readonly tree?: Uint8Array;
  readonly blocks: readonly Uint8Array[];
  readonly purgedSeq: number;
}
