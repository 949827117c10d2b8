/** JSON that every parser reads as the same value, as `collabkernel.wire.strict.check_json` defines it. */

/** Nesting of presence and event JSON. */
const JSON_DEPTH_MAX = 32;

/** Whether `text` is JSON without doubled keys, infinite numbers, lone surrogates or deep nesting. */
export function isStrictJson(text: string, mustBeObject: boolean): boolean {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return false;
  }
  if (mustBeObject && (typeof value !== "object" || value === null || Array.isArray(value))) return false;
  const keysCount = countKeys(value, JSON_DEPTH_MAX);
  return keysCount >= 0 && keysCount === writtenKeys(text);
}

/** Keys in a value, or -1 for what is refused. */
function countKeys(value: unknown, depthLeft: number): number {
  if (depthLeft < 0) return -1;
  if (typeof value === "string") return value.isWellFormed() ? 0 : -1;
  if (typeof value === "number") return Number.isFinite(value) ? 0 : -1;
  if (typeof value !== "object" || value === null) return 0;
  let total = 0;
  const isArray = Array.isArray(value);
  for (const [key, member] of Object.entries(value)) {
    const count = key.isWellFormed() ? countKeys(member, depthLeft - 1) : -1;
    if (count < 0) return -1;
    total += count + (isArray ? 0 : 1);
  }
  return total;
}

/** Keys as written: in valid JSON a string before a colon is one. More than in the value means that one is doubled. */
function writtenKeys(text: string): number {
  let count = 0;
  for (const [, colon] of text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?/g)) if (colon !== undefined) count += 1;
  return count;
}
