import { readFileSync } from "node:fs";
import { describe, expect, it, test } from "vitest";
import fc from "fast-check";
import { CollabKernelError } from "../src/errors.ts";
import { clientMessage, decodeServerMessage, encodeClientMessage, serverMessage } from "../src/wire/codec.ts";
import { clientForm, hex, serverForm, unhex } from "./json_form.ts";

interface Fixture {
  name: string;
  direction: "client" | "server";
  hex: string;
  decoded: Record<string, unknown>;
}
interface BadFixture {
  name: string;
  direction: "client" | "server";
  hex: string;
  code: string;
  limits: Record<string, number>;
}

function load<T>(name: string): T[] {
  return JSON.parse(readFileSync(new URL(`../../../tests/fixtures/wire/${name}`, import.meta.url), "utf-8")) as T[];
}

const fixtures = load<Fixture>("messages.json");
const bad = load<BadFixture>("bad.json");

describe("frozen messages", () => {
  for (const { name, direction, hex: text, decoded } of fixtures) {
    test(`${direction}: ${name}`, () => {
      const frame = unhex(text);
      if (direction === "client") {
        const message = clientMessage.decode(frame);
        expect(clientForm(message)).toEqual(decoded);
        expect(hex(encodeClientMessage(message))).toBe(text);
      } else {
        expect(serverForm(decodeServerMessage(frame))).toEqual(decoded);
        expect(hex(serverMessage.encode(serverMessage.decode(frame)))).toBe(text);
      }
    });
  }
});

describe("bad frames are refused with the code that Python gives", () => {
  for (const { name, direction, hex: text, code, limits } of bad) {
    // The client-side limit of frame_bytes is the server's to hold.
    if (direction === "client" && code === "frame-too-large") continue;
    test(`${direction}: ${name}`, () => {
      expect(codeOf(direction, unhex(text), limits)).toBe(code);
    });
  }
});

function codeOf(direction: string, frame: Uint8Array, limits: Record<string, number>): string | undefined {
  try {
    if (direction === "client") clientMessage.decode(frame);
    else decodeServerMessage(frame, limits.server_frame_bytes);
  } catch (error) {
    if (error instanceof CollabKernelError) return error.code;
    throw error;
  }
  return undefined;
}

it("decodes or refuses any mutation of a server frame, and nothing else", () => {
  const frames = fixtures.filter(({ direction }) => direction === "server").map((each) => unhex(each.hex));
  fc.assert(
    fc.property(
      fc.constantFrom(...frames),
      fc.array(fc.record({ at: fc.nat(), byte: fc.nat(255), how: fc.constantFrom("set", "cut", "insert") }), { minLength: 1, maxLength: 4 }),
      (frame, edits) => {
        let data = Array.from(frame);
        for (const { at, byte, how } of edits) {
          const place = at % (data.length + 1);
          if (how === "cut") data = data.slice(0, place);
          else data.splice(place, how === "set" ? 1 : 0, byte);
        }
        const mutated = new Uint8Array(data);
        if (codeOf("server", mutated, {}) === undefined) {
          expect(hex(serverMessage.encode(serverMessage.decode(mutated)))).toBe(hex(mutated));
        }
      },
    ),
    { numRuns: 3000 },
  );
});
