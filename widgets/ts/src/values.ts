/** JavaScript values as the wire has them, and back. */

import { InvalidValueError } from "./errors.ts";
import { INT_MAX, INT_MIN } from "./limits.ts";
import type { WireScalar } from "./wire/messages.ts";

/** Whole numbers are integers, as JavaScript cannot tell 1 from 1.0; integers over 53 bits are bigints. */
export type Scalar = null | boolean | number | bigint | string | Uint8Array;

/** A value as plain data. */
export type Plain = Scalar | readonly Plain[] | { readonly [key: string]: Plain };

export function isScalar(value: unknown): value is Scalar {
  return value === null || ["boolean", "number", "bigint", "string"].includes(typeof value) || value instanceof Uint8Array;
}

/** Throws InvalidValueError for what a room cannot hold. */
export function toWire(value: Scalar): WireScalar {
  if (value === null) return { kind: "null", body: true };
  switch (typeof value) {
    case "boolean":
      return { kind: "boolean", body: value };
    case "bigint":
      if (value < INT_MIN || value > INT_MAX) throw new InvalidValueError(`${value} needs more than 64 bits`);
      return { kind: "integer", body: value };
    case "number":
      if (!Number.isFinite(value)) throw new InvalidValueError(`${value} is no finite number`);
      return Number.isSafeInteger(value) ? { kind: "integer", body: value } : { kind: "number", body: value };
    case "string":
      if (!value.isWellFormed()) throw new InvalidValueError("a string holds half of a surrogate pair");
      return { kind: "text", body: value };
    default:
      return { kind: "data", body: value };
  }
}

export function fromWire(value: WireScalar): Scalar {
  return value.kind === "null" ? null : value.body;
}
