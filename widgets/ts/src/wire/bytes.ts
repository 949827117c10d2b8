/** Canonical protobuf primitives: minimal varints, fatal UTF-8, every read inside its bounds. */

import { InvalidValueError, MalformedFrameError } from "../errors.ts";

const utf8Decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const utf8Encoder = new TextEncoder();

/** Reads one message's bytes; throws MalformedFrameError, never reads past `end`. */
export class Reader {
  at: number;
  readonly end: number;
  private readonly data: Uint8Array;
  private readonly view: DataView;

  constructor(data: Uint8Array, at = 0, end = data.length) {
    this.data = data;
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    this.at = at;
    this.end = end;
  }

  /** An unsigned varint of at most 64 bits, in its shortest form. */
  varint64(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (byte === 0 && shift > 0n) throw new MalformedFrameError("a varint is not in its shortest form");
        if (value >> 64n) throw new MalformedFrameError("a varint is over 64 bits");
        return value;
      }
    }
    throw new MalformedFrameError("a varint is over 10 bytes");
  }

  /** An unsigned varint that is exact in a number. */
  varint(): number {
    let value = 0;
    let scale = 1;
    const start = this.at;
    for (let i = 0; i < 7; i++, scale *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (byte === 0 && i > 0) throw new MalformedFrameError("a varint is not in its shortest form");
        return value;
      }
    }
    this.at = start;
    const big = this.varint64();
    if (big > BigInt(Number.MAX_SAFE_INTEGER)) throw new MalformedFrameError("an integer is over 53 bits");
    return Number(big);
  }

  fixed64(): bigint {
    this.need(8);
    const value = this.view.getBigUint64(this.at, true);
    this.at += 8;
    return value;
  }

  double(): number {
    this.need(8);
    const value = this.view.getFloat64(this.at, true);
    this.at += 8;
    return value;
  }

  /** A length-prefixed stretch, as a reader of its own. */
  nested(): Reader {
    const size = this.varint();
    this.need(size);
    const inner = new Reader(this.data, this.at, this.at + size);
    this.at += size;
    return inner;
  }

  /** A length-prefixed stretch, copied: frames are large and what they hold lives on. */
  bytes(): Uint8Array {
    const inner = this.nested();
    return this.data.slice(inner.at, inner.end);
  }

  string(): string {
    const inner = this.nested();
    try {
      return utf8Decoder.decode(this.data.subarray(inner.at, inner.end));
    } catch {
      throw new MalformedFrameError("a string is not UTF-8");
    }
  }

  private byte(): number {
    this.need(1);
    return this.data[this.at++] as number;
  }

  private need(size: number): void {
    if (size > this.end - this.at) throw new MalformedFrameError("a message ends in the middle of a field");
  }
}

/** Grows as it is written. */
export class Writer {
  private data = new Uint8Array(256);
  private size = 0;

  finish(): Uint8Array<ArrayBuffer> {
    return this.data.slice(0, this.size);
  }

  varint(value: number): void {
    const room = this.grow(10);
    while (value >= 128) {
      room[this.size++] = (value % 128) | 0x80;
      value = Math.floor(value / 128);
    }
    room[this.size++] = value;
  }

  varint64(value: bigint): void {
    const room = this.grow(10);
    while (value >= 128n) {
      room[this.size++] = Number(value & 0x7fn) | 0x80;
      value >>= 7n;
    }
    room[this.size++] = Number(value);
  }

  fixed64(value: bigint): void {
    const room = this.grow(8);
    new DataView(room.buffer).setBigUint64(this.size, value, true);
    this.size += 8;
  }

  double(value: number): void {
    const room = this.grow(8);
    new DataView(room.buffer).setFloat64(this.size, value, true);
    this.size += 8;
  }

  bytes(value: Uint8Array): void {
    this.varint(value.length);
    this.grow(value.length).set(value, this.size);
    this.size += value.length;
  }

  string(value: string): void {
    if (!value.isWellFormed()) throw new InvalidValueError("a string holds half of a surrogate pair");
    this.bytes(utf8Encoder.encode(value));
  }

  private grow(more: number): Uint8Array<ArrayBuffer> {
    if (this.size + more > this.data.length) {
      const larger = new Uint8Array(Math.max(this.data.length * 2, this.size + more));
      larger.set(this.data.subarray(0, this.size));
      this.data = larger;
    }
    return this.data;
  }
}
