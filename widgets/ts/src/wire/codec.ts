/** The messages of `collab.proto`, decoded strictly and encoded canonically. */

import { FrameTooLargeError, MalformedFrameError } from "../errors.ts";
import type { OpId } from "../ids.ts";
import { COUNTER_MAX, HLC_MAX, PURGED_IDS_MAX, SERVER_FRAME_BYTES_MAX } from "../limits.ts";
import { inflate } from "./inflate.ts";
import { isStrictJson } from "./json.ts";
import type * as m from "./messages.ts";
import { bool, bytes, double, enumeration, fixed64, implicitBytes, Schema, sint64, string, uint32, uint53, uint64 } from "./schema.ts";

function refuse(when: boolean, what: string): void {
  if (when) throw new MalformedFrameError(what);
}

const kindEnum = enumeration(4);
const sideEnum = enumeration(2);
const slotEnum = enumeration(2);
const roleEnum = enumeration(2);
const sessionKindEnum = enumeration(3);
const encodingEnum = enumeration(1, true);

const idFields = { site: [1, uint32], counter: [2, uint53] } as const;
/** The id of an operation that some site made. */
const opId = new Schema<OpId>("OpId", idFields, ({ site, counter }) => refuse(site === 0 || counter === 0, "OpId names no operation"));
/** The id of a container: the root (0, 0), a shared one (0, hash), or the id of an operation. */
const containerId = new Schema<OpId>("OpId", idFields, ({ site, counter }) => refuse(site > 0 && counter === 0, "OpId names no container"));

const newContainer = new Schema<m.NewContainer>(
  "NewContainer",
  { kind: [1, kindEnum, "required"], shared: [2, bool], afterHlc: [3, fixed64], afterSite: [4, uint32] },
  ({ shared, afterHlc, afterSite }) => {
    refuse(!shared && afterHlc > 0n, "NewContainer has after without shared");
    refuse(afterHlc > 0n !== afterSite > 0, "NewContainer has half a stamp");
  },
);

function valueSchema<T, C>(name: string, container: Schema<C>): Schema<T> {
  return new Schema<T>(
    name,
    {
      null: [1, bool, "oneof"],
      boolean: [2, bool, "oneof"],
      integer: [3, sint64, "oneof"],
      number: [4, double, "oneof"],
      text: [5, string, "oneof"],
      data: [6, bytes, "oneof"],
      container: [7, container, "oneof"],
    },
    (value) => {
      const { kind, body } = value as m.WireScalar;
      refuse(kind === "null" && (body as boolean) !== true, `${name} has a false null`);
    },
  );
}

const value = valueSchema<m.WireValue, m.NewContainer>("Value", newContainer);
const storedValue = valueSchema<m.StoredWireValue, OpId>("StoredValue", containerId);

const mapSet = new Schema<m.MapSet>("MapSet", { key: [1, string], value: [2, value, "required"] });
const mapDelete = new Schema<m.MapDelete>("MapDelete", { key: [1, string] });
const listInsert = new Schema<m.ListInsert>("ListInsert", {
  parent: [1, opId, "optional"],
  side: [2, sideEnum, "required"],
  value: [3, value, "required"],
});
const listDelete = new Schema<m.ListDelete>("ListDelete", { element: [1, opId, "required"] });
const listMove = new Schema<m.ListMove>("ListMove", {
  element: [1, opId, "required"],
  parent: [2, opId, "optional"],
  side: [3, sideEnum, "required"],
});
const listSet = new Schema<m.ListSet>("ListSet", { element: [1, opId, "required"], value: [2, value, "required"] });
const textEdit = new Schema<m.TextEdit>("TextEdit", { update: [1, bytes, "required"] }, ({ update }) =>
  refuse(update.length === 0, "TextEdit has no update"),
);

const newDocument = new Schema<m.NewDocument>("NewDocument", { name: [1, string, "required"] });
const blockInsert = new Schema<m.BlockInsert>("BlockInsert", {
  slot: [1, slotEnum, "required"],
  key: [2, string, "required"],
  type: [3, string, "required"],
  split: [4, opId, "optional"],
});
const blockMove = new Schema<m.BlockMove>(
  "BlockMove",
  { parent: [1, containerId, "required"], slot: [2, slotEnum, "required"], key: [3, string, "required"] },
  ({ parent }) => refuse(parent.counter === 0, "BlockMove goes to the root of the room"),
);
const blockDelete = new Schema<m.BlockDelete>("BlockDelete", {});
const blockKey = new Schema<m.BlockKey>("BlockKey", { block: [1, opId, "required"], key: [2, string, "required"] });
const blockRekey = new Schema<m.BlockRekey>("BlockRekey", { slot: [1, slotEnum, "required"], keys: [2, blockKey, "repeated"] }, ({ keys }) =>
  refuse(keys.length === 0, "BlockRekey has no key"),
);

const idRun = new Schema<m.IdRun>("IdRun", { site: [1, uint32, "required"], counter: [2, uint53, "required"], more: [3, uint53] }, ({ site, counter, more }) =>
  refuse(site === 0 || counter === 0 || more > COUNTER_MAX - counter, "IdRun is out of range"),
);
const purge = new Schema<m.Purge>(
  "Purge",
  { runs: [1, idRun, "repeated"], floorHlc: [2, fixed64], floorSite: [3, uint32] },
  ({ runs, floorHlc, floorSite }) => {
    refuse(floorHlc > 0n !== floorSite > 0, "Purge has half a stamp");
    refuse(runs.length > 0 === floorHlc > 0n, "Purge has both ids and a stamp, or none");
    refuse(runs.reduce((count, { more }) => count + more + 1, 0) > PURGED_IDS_MAX, "Purge has too many ids");
    let last: m.IdRun | undefined;
    for (const run of runs) {
      const isBehind = last === undefined || run.site > last.site || (run.site === last.site && run.counter > last.counter + last.more + 1);
      refuse(!isBehind, "Purge has ids out of order");
      last = run;
    }
  },
);

/** An envelope's first counter, seq and HLC, such that its last operation's are in range too. */
function checkRun(first: number | bigint, count: number, max: number | bigint, what: string): void {
  refuse(first < 1 || BigInt(first) + BigInt(count - 1) > BigInt(max), `${what} is out of range`);
}

export const opSchema = new Schema<m.Op>("Op", {
  targetSite: [1, uint32],
  targetCounter: [2, uint53],
  mapSet: [3, mapSet, "oneof"],
  mapDelete: [4, mapDelete, "oneof"],
  listInsert: [5, listInsert, "oneof"],
  listDelete: [6, listDelete, "oneof"],
  listMove: [7, listMove, "oneof"],
  listSet: [8, listSet, "oneof"],
  textEdit: [9, textEdit, "oneof"],
  newDocument: [10, newDocument, "oneof"],
  blockInsert: [11, blockInsert, "oneof"],
  blockMove: [12, blockMove, "oneof"],
  blockDelete: [13, blockDelete, "oneof"],
  blockRekey: [14, blockRekey, "oneof"],
  purge: [15, purge, "oneof"],
}, ({ targetSite, targetCounter }) => refuse(targetSite > 0 && targetCounter === 0, "Op names no container"));

const envelope = new Schema<m.Envelope>(
  "Envelope",
  { counter: [1, uint53, "required"], base: [2, uint53], hlc: [3, fixed64], ops: [4, opSchema, "repeated"] },
  ({ counter, hlc, ops }) => {
    refuse(ops.length === 0, "Envelope has no operation");
    checkRun(counter, ops.length, COUNTER_MAX, "counter");
    checkRun(hlc, ops.length, HLC_MAX, "hlc");
  },
);

const storedEnvelope = new Schema<m.StoredEnvelope>("StoredEnvelope", {
  seq: [1, uint53, "required"],
  site: [2, uint32, "required"],
  actor: [3, uint32],
  envelope: [4, envelope, "required"],
}, ({ seq, envelope: { ops } }) => checkRun(seq, ops.length, COUNTER_MAX, "seq"));

// ---------------------------------------------------------------- client to server

const resume = new Schema<m.Resume>(
  "Resume",
  { site: [1, uint32, "required"], secret: [2, bytes, "required"], through: [3, uint53], throughOp: [4, opId, "optional"] },
  ({ secret, through, throughOp }) => {
    refuse(secret.length !== 16, "a resume secret is not 16 bytes");
    refuse(through > 0 !== (throughOp !== undefined), "Resume has through without its operation, or the reverse");
  },
);
const hello = new Schema<m.Hello>("Hello", {
  kind: [1, sessionKindEnum, "required"],
  client: [2, string],
  resume: [3, resume, "optional"],
}, ({ client }) => refuse(new TextEncoder().encode(client).length > CLIENT_NAME_BYTES_MAX, "a client's name is too long"));
/** Ten screens of blocks. */
const VIEWPORT_BLOCKS_MAX = 500;
/** A client's name goes to logs and metrics of operators. */
const CLIENT_NAME_BYTES_MAX = 256;

const submit = new Schema<m.Submit>("Submit", { envelopes: [1, envelope, "repeated"] }, ({ envelopes }) =>
  refuse(envelopes.length === 0, "Submit has no envelope"),
);

export const clientMessage = new Schema<m.ClientMessage>("ClientMessage", {
  hello: [1, hello, "oneof"],
  submit: [2, submit, "oneof"],
  presence: [3, new Schema<m.Presence>("Presence", { stateJson: [1, string], block: [2, containerId, "optional"] }, ({ stateJson }) => refuse(!isStrictJson(stateJson, true), "presence is not a JSON object")), "oneof"],
  event: [4, new Schema<m.Event>("Event", { name: [1, string, "required"], payloadJson: [2, string] }, ({ payloadJson }) => refuse(!isStrictJson(payloadJson, false), "an event's payload is not JSON")), "oneof"],
  resync: [5, new Schema<Record<string, never>>("Resync", {}), "oneof"],
  viewport: [6, new Schema<m.Viewport>("Viewport", { blocks: [1, containerId, "repeated"] }, ({ blocks }) => refuse(blocks.length > VIEWPORT_BLOCKS_MAX, "Viewport names too many blocks")), "oneof"],
});

// ---------------------------------------------------------------- server to client

const clientLimits = new Schema<m.ClientLimits>("ClientLimits", {
  frameBytes: [1, uint32],
  keyBytes: [2, uint32],
  valueBytes: [3, uint32],
  envelopeOps: [4, uint32],
  depth: [5, uint32],
  presenceBytes: [6, uint32],
  opsPerS: [7, uint32],
});
const welcome = new Schema<m.Welcome>(
  "Welcome",
  {
    site: [1, uint32, "required"],
    secret: [2, bytes, "optional"],
    seq: [3, uint53],
    serverTimeMs: [4, uint53],
    role: [5, roleEnum, "required"],
    actor: [6, string],
    name: [7, string],
    color: [8, string],
    limits: [9, clientLimits, "required"],
    nextCounter: [10, uint53, "required"],
    resync: [11, bool],
  },
  ({ secret }) => refuse(secret !== undefined && secret.length !== 16, "a resume secret is not 16 bytes"),
);
const snapshot = new Schema<m.Snapshot>(
  "Snapshot",
  { seq: [1, uint53], encoding: [2, encodingEnum], state: [3, implicitBytes], op: [4, opId, "optional"] },
  ({ seq, op }) => refuse(seq > 0 !== (op !== undefined), "Snapshot has seq without its operation, or the reverse"),
);
const ops = new Schema<m.Ops>(
  "Ops",
  { actors: [1, string, "repeated"], envelopes: [2, storedEnvelope, "repeated"] },
  ({ actors, envelopes }) => {
    refuse(envelopes.length === 0, "Ops has no envelope");
    // The table has each actor once, in the order of his first envelope: one way to write it.
    let named = 0;
    for (const { actor } of envelopes) {
      refuse(actor > named || actor >= actors.length, "an envelope's actor is out of range");
      named = Math.max(named, actor + 1);
    }
    refuse(named !== actors.length || new Set(actors).size !== named, "Ops names an actor twice or for nothing");
  },
);
const ack = new Schema<m.Ack>("Ack", { counter: [1, uint53, "required"], seq: [2, uint53, "required"], hlc: [3, uint64], buffered: [4, bool] });
const reject = new Schema<m.Reject>("Reject", {
  counter: [1, uint53, "required"],
  code: [2, string, "required"],
  reason: [3, string],
  final: [4, bool],
  retryAfterMs: [5, uint32],
});
const presenceEntry = new Schema<m.PresenceEntry>("PresenceEntry", {
  site: [1, uint32, "required"],
  actor: [2, string],
  name: [3, string],
  color: [4, string],
  kind: [5, sessionKindEnum, "required"],
  stateJson: [6, string],
  left: [7, bool],
  block: [8, containerId, "optional"],
}, ({ stateJson }) => refuse(stateJson !== "" && !isStrictJson(stateJson, true), "presence is not a JSON object"));
const presenceMove = new Schema<m.PresenceMove>("PresenceMove", {
  site: [1, uint32, "required"],
  stateJson: [2, string],
  block: [3, containerId, "optional"],
}, ({ stateJson }) => refuse(!isStrictJson(stateJson, true), "presence is not a JSON object"));
const presenceCluster = new Schema<m.PresenceCluster>("PresenceCluster", { block: [1, containerId, "required"], count: [2, uint32] });
const presenceBatch = new Schema<m.PresenceBatch>(
  "PresenceBatch",
  { entries: [1, presenceEntry, "repeated"], moves: [2, presenceMove, "repeated"], clusters: [3, presenceCluster, "repeated"], whole: [4, bool] },
  ({ entries, moves, clusters, whole }) => refuse(entries.length + moves.length + clusters.length === 0 && !whole, "PresenceBatch has no entry"),
);
const notice = new Schema<m.Notice>("Notice", { code: [1, string, "required"], reason: [2, string], retryAfterMs: [3, uint32] });
const roomEvent = new Schema<m.RoomEvent>("RoomEvent", {
  site: [1, uint32, "required"],
  actor: [2, string],
  name: [3, string, "required"],
  payloadJson: [4, string],
}, ({ payloadJson }) => refuse(!isStrictJson(payloadJson, false), "an event's payload is not JSON"));

const contents = new Schema<m.Contents>(
  "Contents",
  { encoding: [1, encodingEnum], blocks: [2, implicitBytes], lost: [3, containerId, "repeated"] },
  ({ blocks, lost }) => refuse(blocks.length === 0 && lost.length === 0, "Contents has nothing"),
);

export const serverMessage = new Schema<m.ServerMessage>("ServerMessage", {
  welcome: [1, welcome, "optional"],
  snapshot: [2, snapshot, "optional"],
  ops: [3, ops, "repeated"],
  acks: [4, ack, "repeated"],
  rejects: [5, reject, "repeated"],
  presence: [6, presenceBatch, "repeated"],
  events: [7, roomEvent, "repeated"],
  notices: [8, notice, "repeated"],
  degraded: [9, new Schema<{ on: boolean }>("Degraded", { on: [1, bool] }), "optional"],
  bye: [10, notice, "optional"],
  through: [11, uint53],
  filtered: [12, ops, "repeated"],
  throughOp: [13, opId, "optional"],
  contents: [14, contents, "repeated"],
}, ({ ops, filtered, through, throughOp }) => {
  refuse(throughOp !== undefined && through === 0, "ServerMessage has the operation at through without it");
  for (const { envelopes } of filtered) {
    let least = 1;
    for (const { seq, envelope } of envelopes) {
      refuse(seq < least, "filtered operations are out of order");
      least = seq + envelope.ops.length;
    }
  }
  let next: number | undefined;
  for (const { seq, envelope } of ops.flatMap((part) => part.envelopes)) {
    refuse(next !== undefined && seq !== next, "ServerMessage has a gap in its operations");
    next = seq + envelope.ops.length;
  }
});

// ---------------------------------------------------------------- state, in snapshots

const register = new Schema<m.RegisterState>("Register", { hlc: [1, fixed64], site: [2, uint32], value: [3, storedValue, "optional"] });
const mapEntry = new Schema<m.MapEntryState>("MapEntry", { key: [1, string], register: [2, register, "required"] });
const slotState = new Schema<m.SlotState>("SlotState", { id: [1, opId, "required"], parent: [2, opId, "optional"], side: [3, sideEnum, "required"] });
const elementState = new Schema<m.ElementState>("ElementState", {
  id: [1, opId, "required"],
  value: [2, register, "optional"],
  positionHlc: [3, fixed64],
  positionSite: [4, uint32],
  slot: [5, opId, "optional"],
  deleted: [6, bool],
});
const containerState = new Schema<m.ContainerState>("ContainerState", {
  id: [1, containerId, "required"],
  kind: [2, kindEnum, "required"],
  home: [3, containerId, "optional"],
  homeKey: [4, string],
  homeElement: [5, opId, "optional"],
  afterHlc: [6, fixed64],
  afterSite: [7, uint32],
  entries: [8, mapEntry, "repeated"],
  slots: [9, slotState, "repeated"],
  elements: [10, elementState, "repeated"],
  yjsState: [11, implicitBytes],
  floorHlc: [12, fixed64],
  floorSite: [13, uint32],
}, ({ floorHlc, floorSite }) => refuse(floorHlc > 0n !== floorSite > 0, "ContainerState has half a stamp"));
export const roomState = new Schema<m.RoomState>("RoomState", {
  seq: [1, uint53],
  hlc: [2, fixed64],
  containers: [3, containerState, "repeated"],
  // Block documents, unread: this replica does not show them.
  tree: [4, bytes, "optional"],
  blocks: [5, bytes, "repeated"],
  purgedSeq: [6, uint53],
});

/**
 * Decode a frame of the server, its snapshot inflated.
 *
 * Throws MalformedFrameError, or FrameTooLargeError when it or its snapshot is over the limit.
 */
export function decodeServerMessage(frame: Uint8Array, frameBytesMax = SERVER_FRAME_BYTES_MAX): m.ServerMessage {
  if (frame.length > frameBytesMax) throw new FrameTooLargeError(frame.length, frameBytesMax);
  const decoded = serverMessage.decode(frame);
  const contents = decoded.contents.map((part) => inflated(part, frameBytesMax));
  if (decoded.snapshot?.encoding !== 1) return { ...decoded, contents };
  return { ...decoded, contents, snapshot: { ...decoded.snapshot, encoding: 0, state: inflate(decoded.snapshot.state, frameBytesMax) } };
}

/** Encode a frame to the server; throws InvalidValueError when a value of the caller does not fit its type. */
export function encodeClientMessage(message: m.ClientMessage): Uint8Array<ArrayBuffer> {
  return clientMessage.encode(message);
}

/** Bytes of an operation in its envelope, with tag and length. */
export function opSizeBytes(op: m.Op): number {
  return opSchema.encode(op).length + OP_OVERHEAD_BYTES;
}

/** Bytes of an envelope, without tag and length. */
export function envelopeSizeBytes(value: m.Envelope): number {
  return envelope.encode(value).length;
}

const OP_OVERHEAD_BYTES = 5;

function inflated(contents: m.Contents, bytesMax: number): m.Contents {
  if (contents.encoding !== 1) return contents;
  const blocks = inflate(contents.blocks, bytesMax);
  refuse(blocks.length === 0 && contents.lost.length === 0, "Contents has nothing");
  return { ...contents, encoding: 0, blocks };
}
