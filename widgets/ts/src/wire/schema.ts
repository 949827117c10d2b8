/**
 * A table-driven protobuf codec that accepts one byte sequence a message: fields in ascending order, each at most once
 * (unless repeated), no unknown field or enum value, no default written out, no missing member, minimal varints.
 *
 * Why not a library: docs/decisions/0005-typescript-codec.md.
 */

import { InvalidValueError, MalformedFrameError } from "../errors.ts";
import { COUNTER_MAX, HLC_MAX, INT_MAX, INT_MIN, SITE_MAX } from "../limits.ts";
import { Reader, Writer } from "./bytes.ts";

/** How a field's value is written, and which JavaScript value stands for it. */
export interface FieldType<T> {
  readonly wire: 0 | 1 | 2;
  /** The value that proto3 leaves out; undefined for messages. */
  readonly zero: T | undefined;
  read(reader: Reader): T;
  write(writer: Writer, value: T): void;
}

/** `implicit`: zero when left out. `required`: must be there. `optional`: undefined when left out. */
export type Rule = "implicit" | "required" | "optional" | "repeated" | "oneof";

interface Field {
  readonly no: number;
  readonly name: string;
  readonly type: FieldType<unknown>;
  readonly rule: Rule;
}

type Decoded = Record<string, unknown>;
// `any`: the table is heterogeneous, and FieldType is invariant in T; `message` ties the whole to its decoded type.
type Table = Record<string, readonly [no: number, type: FieldType<any>, rule?: Rule]>;

/** A message: its table, and `T`, the shape of its decoded form. */
export class Schema<T> implements FieldType<T> {
  readonly wire = 2;
  readonly zero = undefined;
  readonly name: string;
  private readonly fields: readonly Field[];
  private readonly fieldByNo: readonly (Field | undefined)[];
  private readonly check: ((value: T) => void) | undefined;

  /**
   * Members of the message's one `oneof` (if any) are decoded into `kind` (the member's name) and `body`.
   *
   * @param check Throws MalformedFrameError for what the table cannot say.
   */
  constructor(name: string, table: Table, check?: (value: T) => void) {
    this.name = name;
    this.fields = Object.entries(table)
      .map(([field, [no, type, rule = "implicit"]]) => ({ no, name: field, type, rule }))
      .sort((a, b) => a.no - b.no);
    const byNo: (Field | undefined)[] = [];
    for (const field of this.fields) byNo[field.no] = field;
    this.fieldByNo = byNo;
    this.check = check;
  }

  /** Decode a whole message; throws MalformedFrameError alone. */
  decode(data: Uint8Array): T {
    return this.readBody(new Reader(data));
  }

  /** Encode a whole message; throws InvalidValueError for values outside their type. */
  encode(value: T): Uint8Array<ArrayBuffer> {
    const writer = new Writer();
    this.writeBody(writer, value);
    return writer.finish();
  }

  read(reader: Reader): T {
    return this.readBody(reader.nested());
  }

  write(writer: Writer, value: T): void {
    writer.bytes(this.encode(value));
  }

  private readBody(reader: Reader): T {
    const decoded: Decoded = {};
    let last = 0;
    while (reader.at < reader.end) {
      const tag = reader.varint();
      const field = this.fieldByNo[Math.floor(tag / 8)];
      if (field === undefined) throw this.malformed(`has no field ${Math.floor(tag / 8)}`);
      if (tag % 8 !== field.type.wire) throw this.malformed(`has a ${field.name} of another wire type`);
      if (field.no < last || (field.no === last && field.rule !== "repeated")) {
        throw this.malformed(`has ${field.name} twice or out of order`);
      }
      last = field.no;
      this.take(decoded, field, field.type.read(reader));
    }
    this.complete(decoded);
    this.check?.(decoded as T);
    return decoded as T;
  }

  private take(decoded: Decoded, field: Field, value: unknown): void {
    switch (field.rule) {
      case "repeated":
        ((decoded[field.name] ??= []) as unknown[]).push(value);
        return;
      case "oneof":
        if ("kind" in decoded) throw this.malformed(`has both ${String(decoded.kind)} and ${field.name}`);
        decoded.kind = field.name;
        decoded.body = value;
        return;
      default:
        if (isZero(field.type, value)) throw this.malformed(`writes out the default of ${field.name}`);
        decoded[field.name] = value;
    }
  }

  private complete(decoded: Decoded): void {
    for (const { name, rule, type } of this.fields) {
      if (rule === "oneof") {
        if (!("kind" in decoded)) throw this.malformed("lacks its one member");
      } else if (!(name in decoded)) {
        if (rule === "required") throw this.malformed(`lacks ${name}`);
        if (rule === "repeated") decoded[name] = [];
        else if (rule === "implicit") decoded[name] = type.zero;
      }
    }
  }

  private writeBody(writer: Writer, value: T): void {
    const decoded = value as Decoded;
    for (const field of this.fields) {
      if (field.rule === "oneof") {
        if (decoded.kind === field.name) this.writeField(writer, field, decoded.body);
      } else if (field.rule === "repeated") {
        for (const item of decoded[field.name] as readonly unknown[]) this.writeField(writer, field, item);
      } else {
        const item = decoded[field.name];
        if (item === undefined) {
          if (field.rule === "required") throw new InvalidValueError(`${this.name} lacks ${field.name}`);
        } else if (!isZero(field.type, item)) {
          this.writeField(writer, field, item);
        }
      }
    }
  }

  private writeField(writer: Writer, field: Field, value: unknown): void {
    writer.varint(field.no * 8 + field.type.wire);
    field.type.write(writer, value);
  }

  private malformed(what: string): MalformedFrameError {
    return new MalformedFrameError(`${this.name} ${what}`);
  }
}

function isZero(type: FieldType<unknown>, value: unknown): boolean {
  if (type.zero instanceof Uint8Array) return (value as Uint8Array).length === 0;
  return value === type.zero;
}

function unsigned(max: number): FieldType<number> {
  return {
    wire: 0,
    zero: 0,
    read(reader) {
      const value = reader.varint();
      if (value > max) throw new MalformedFrameError(`integer ${value} is over ${max}`);
      return value;
    },
    write(writer, value) {
      if (!Number.isInteger(value) || value < 0 || value > max) throw new InvalidValueError(`${value} is not in 0..${max}`);
      writer.varint(value);
    },
  };
}

export const uint32 = unsigned(SITE_MAX);
/** uint64 of the schema that is a counter, a seq or a time: below 2**53. */
export const uint53 = unsigned(COUNTER_MAX);

export const uint64: FieldType<bigint> = {
  wire: 0,
  zero: 0n,
  read: (reader) => reader.varint64(),
  write: (writer, value) => writer.varint64(checkedHlc(value)),
};

export const fixed64: FieldType<bigint> = {
  wire: 1,
  zero: 0n,
  read: (reader) => reader.fixed64(),
  write: (writer, value) => writer.fixed64(checkedHlc(value)),
};

function checkedHlc(value: bigint): bigint {
  if (value < 0n || value > HLC_MAX) throw new InvalidValueError(`${value} is not 64 bits unsigned`);
  return value;
}

/** Zigzag; a number when it is exact in one, else a bigint. */
export const sint64: FieldType<number | bigint> = {
  wire: 0,
  zero: 0,
  read(reader) {
    const raw = reader.varint64();
    return shrink((raw >> 1n) ^ -(raw & 1n));
  },
  write(writer, value) {
    const big = BigInt(value);
    if (big < INT_MIN || big > INT_MAX) throw new InvalidValueError(`${value} is not a 64-bit integer`);
    writer.varint64(BigInt.asUintN(64, (big << 1n) ^ (big >> 63n)));
  },
};

function shrink(value: bigint): number | bigint {
  const small = Number(value);
  return Number.isSafeInteger(small) ? small : value;
}

/** Finite: JSON has no other. */
export const double: FieldType<number> = {
  wire: 1,
  zero: 0,
  read(reader) {
    const value = reader.double();
    if (!Number.isFinite(value)) throw new MalformedFrameError("a number is not finite");
    return value;
  },
  write(writer, value) {
    if (!Number.isFinite(value)) throw new InvalidValueError(`${value} is not finite`);
    writer.double(value);
  },
};

export const bool: FieldType<boolean> = {
  wire: 0,
  zero: false,
  read(reader) {
    const value = reader.varint();
    if (value > 1) throw new MalformedFrameError(`${value} is no boolean`);
    return value === 1;
  },
  write: (writer, value) => writer.varint(value ? 1 : 0),
};

export const string: FieldType<string> = {
  wire: 2,
  zero: "",
  read: (reader) => reader.string(),
  write: (writer, value) => writer.string(value),
};

export const bytes: FieldType<Uint8Array> = {
  wire: 2,
  zero: undefined,
  read: (reader) => reader.bytes(),
  write: (writer, value) => writer.bytes(value),
};

/** Bytes whose absence is an empty array. */
export const implicitBytes: FieldType<Uint8Array> = { ...bytes, zero: new Uint8Array(0) };

/** An enum whose zero is refused unless `zeroIsValue`. */
export function enumeration(max: number, zeroIsValue = false): FieldType<number> {
  return {
    wire: 0,
    zero: zeroIsValue ? 0 : undefined,
    read(reader) {
      const value = reader.varint();
      if (value > max || (value === 0 && !zeroIsValue)) throw new MalformedFrameError(`${value} is no value of its enum`);
      return value;
    },
    write(writer, value) {
      if (value > max || (value === 0 && !zeroIsValue)) throw new InvalidValueError(`${value} is no value of its enum`);
      writer.varint(value);
    },
  };
}
