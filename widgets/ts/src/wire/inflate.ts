/** One whole zlib stream (RFC 1950), never held beyond a limit. */

import { Unzlib } from "fflate";
import { FrameTooLargeError, MalformedFrameError } from "../errors.ts";

/** Decompress; throws FrameTooLargeError over `bytesMax`, MalformedFrameError when it is not one whole stream. */
export function inflate(data: Uint8Array, bytesMax: number): Uint8Array {
  const chunks: Uint8Array[] = [];
  let size = 0;
  let hasEnded = false;
  const stream = new Unzlib((chunk, isFinal) => {
    size += chunk.length;
    if (size > bytesMax) throw new FrameTooLargeError(size, bytesMax);
    chunks.push(chunk);
    hasEnded = isFinal;
  });
  try {
    // Piece by piece: pushed whole, a bomb would be inflated whole before the limit is asked.
    const step = 4096;
    for (let at = 0; at < data.length; at += step) stream.push(data.subarray(at, at + step), at + step >= data.length);
  } catch (error) {
    if (error instanceof FrameTooLargeError) throw error;
    throw new MalformedFrameError(`a snapshot does not inflate: ${String(error)}`);
  }
  const whole = join(chunks, size);
  // fflate leaves the checksum unread; it also tells of bytes after the stream's end.
  if (!hasEnded || data.length < 6 || adler32(whole) !== new DataView(data.buffer, data.byteOffset).getUint32(data.length - 4)) {
    throw new MalformedFrameError("a snapshot is not one whole zlib stream");
  }
  return whole;
}

function join(chunks: readonly Uint8Array[], size: number): Uint8Array {
  const whole = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

function adler32(data: Uint8Array): number {
  let low = 1;
  let high = 0;
  for (let at = 0; at < data.length; ) {
    // 3,800 steps keep both sums exact in 32 bits.
    for (const stop = Math.min(at + 3800, data.length); at < stop; at++) {
      low += data[at] as number;
      high += low;
    }
    low %= 65521;
    high %= 65521;
  }
  return high * 65536 + low;
}
