/** Decoded messages as the plain JSON of the fixtures; `tests/fixtures/wire/json_form.py` tells the form. */

import type { OpId } from "../src/ids.ts";
import type * as m from "../src/wire/messages.ts";
import { Kind, Role, SessionKind, Side, Slot } from "../src/wire/messages.ts";

type Json = Record<string, unknown>;

export const hex = (data: Uint8Array): string => Buffer.from(data).toString("hex");
export const unhex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"));

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const nameOf = (values: Record<string, number>, value: number): string =>
  Object.keys(values).find((name) => values[name] === value) as string;
const id = (value: OpId | undefined): unknown => (value === undefined ? null : [value.site, value.counter]);

function valueForm(value: m.WireValue): Json {
  switch (value.kind) {
    case "integer":
      return { integer: String(value.body) };
    case "data":
      return { data: hex(value.body) };
    case "container": {
      const { kind, shared, afterHlc, afterSite } = value.body;
      const after = afterHlc === 0n && afterSite === 0 ? null : [String(afterHlc), afterSite];
      return { container: { kind: nameOf(Kind, kind), shared, after } };
    }
    default:
      return { [value.kind]: value.body };
  }
}

export function opForm(op: m.Op): Json {
  const form: Json = { op: snake(op.kind), target: [op.targetSite, op.targetCounter] };
  const body: Json = { ...op.body };
  if (op.kind === "listInsert" || op.kind === "listMove") body.parent ??= undefined;
  if (op.kind === "blockInsert") body.split ??= undefined;
  if (op.kind === "purge") {
    const ids = op.body.runs.flatMap(({ site, counter, more }) => Array.from({ length: more + 1 }, (_, i) => [site, counter + i]));
    return { ...form, ids, floor: op.body.floorSite === 0 ? null : [String(op.body.floorHlc), op.body.floorSite] };
  }
  for (const [name, member] of Object.entries(body)) {
    if (name === "value") form.value = valueForm(member as m.WireValue);
    else if (name === "side") form.side = nameOf(Side, member as number);
    else if (name === "slot") form.slot = nameOf(Slot, member as number);
    else if (name === "keys") form.keys = (member as readonly m.BlockKey[]).map(({ block, key }) => [id(block), key]);
    else if (name === "element" || name === "parent" || name === "split") form[name] = id(member as OpId | undefined);
    else form[name] = member instanceof Uint8Array ? hex(member) : member;
  }
  return form;
}

const envelopeForm = ({ counter, base, hlc, ops }: m.Envelope): Json => ({ counter, base, hlc: String(hlc), ops: ops.map(opForm) });

/** Field names in Python's way; bytes as hex. */
function plainForm(value: object): Json {
  const form: Json = {};
  for (const [name, member] of Object.entries(value)) {
    if (name === "kind") form.kind = nameOf(SessionKind, member as number);
    else if (name === "role") form.role = nameOf(Role, member as number);
    else if (member instanceof Uint8Array) form[snake(name)] = hex(member);
    else if (typeof member === "object" && member !== null) form[snake(name)] = plainForm(member as object);
    else form[snake(name)] = member;
  }
  return form;
}

export function clientForm(message: m.ClientMessage): Json {
  const type = message.kind;
  if (message.kind === "submit") return { type, envelopes: message.body.envelopes.map(envelopeForm) };
  if (message.kind === "viewport") return { type, blocks: message.body.blocks.map(id) };
  if (message.kind === "presence") return { type, ...plainForm(message.body), block: id(message.body.block) };
  if (message.kind !== "hello") return { type, ...plainForm(message.body) };
  const { kind, client, resume } = message.body;
  const resumeForm = resume === undefined ? null : { ...plainForm(resume), through_op: id(resume.throughOp) };
  return { type, kind: nameOf(SessionKind, kind), client, resume: resumeForm };
}

export function serverForm(message: m.ServerMessage): Json {
  const form: Json = {};
  if (message.welcome) form.welcome = { ...plainForm(message.welcome), secret: hex(message.welcome.secret ?? new Uint8Array()) };
  if (message.snapshot) form.snapshot = { seq: message.snapshot.seq, state: hex(message.snapshot.state), op: id(message.snapshot.op) };
  for (const name of ["ops", "filtered"] as const) {
    const stored = message[name].flatMap(({ actors, envelopes }) =>
      envelopes.map(({ seq, site, actor, envelope }) => ({ seq, site, actor: actors[actor], envelope: envelopeForm(envelope) })),
    );
    if (stored.length > 0) form[name] = stored;
  }
  const acks = message.acks.map(({ hlc, ...ack }) => ({ ...ack, hlc: hlc === 0n ? null : String(hlc) }));
  if (acks.length > 0) form.acks = acks;
  const inBlock = <T extends { readonly block?: OpId }>(of: T): Json => ({ ...plainForm(of), block: id(of.block) });
  const presence = message.presence.flatMap(({ entries }) => entries.map(inBlock));
  if (presence.length > 0) form.presence = presence;
  const moves = message.presence.flatMap((batch) => batch.moves.map(inBlock));
  if (moves.length > 0) form.moves = moves;
  const clusters = message.presence.flatMap((batch) => batch.clusters.map(inBlock));
  if (clusters.length > 0) form.clusters = clusters;
  if (message.presence.some(({ whole }) => whole)) form.is_presence_whole = true;
  for (const name of ["rejects", "events", "notices"] as const) {
    if (message[name].length > 0) form[name] = message[name].map(plainForm);
  }
  if (message.degraded) form.degraded = message.degraded.on;
  if (message.bye) form.bye = plainForm(message.bye);
  if (message.through > 0) form.through = message.through;
  if (message.throughOp) form.through_op = id(message.throughOp);
  const contents = message.contents.map(({ blocks, lost }) => ({ blocks: hex(blocks), lost: lost.map(id) }));
  if (contents.length > 0) form.contents = contents;
  return form;
}
