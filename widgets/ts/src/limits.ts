/** Facts of the format, and the bounds that this client keeps; `collabkernel/limits.py` gives the reasons. */

export const SITE_MAX = 2 ** 32 - 1;
export const COUNTER_MAX = Number.MAX_SAFE_INTEGER;
export const HLC_MAX = (1n << 64n) - 1n;
export const INT_MIN = -(1n << 63n);
export const INT_MAX = (1n << 63n) - 1n;

/** Slots that one operation purges. */
export const PURGED_IDS_MAX = 1000;
/** A frame from the server, and what its snapshot decompresses to, in bytes. */
export const SERVER_FRAME_BYTES_MAX = 32 * 2 ** 20;
/** Unacknowledged envelopes that a replica holds while offline. */
export const PENDING_ENVELOPES_MAX = 100_000;
/** Back-off of reconnects, with full jitter. */
export const RECONNECT_MIN_MS = 100;
export const RECONNECT_MAX_MS = 10_000;
/** What a session shows of itself is sent at most this often, the last one wins. */
export const PRESENCE_INTERVAL_MS = 250;
/** Waiting for an upgrade and its Welcome. */
export const CONNECT_TIMEOUT_MS = 10_000;
