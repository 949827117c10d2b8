/** Keeps a replica connected: dials, resumes, sends what is pending, and comes back after a loss. */

import { CollabKernelError } from "./errors.ts";
import { CONNECT_TIMEOUT_MS, PRESENCE_INTERVAL_MS, RECONNECT_MAX_MS, RECONNECT_MIN_MS } from "./limits.ts";
import type { Notification, Replica } from "./replica.ts";
import { decodeServerMessage, encodeClientMessage } from "./wire/codec.ts";
import type { ClientMessage } from "./wire/messages.ts";

export interface ChannelHandlers {
  onOpen(): void;
  onFrame(frame: Uint8Array): void;
  /** Once, also when it never opened. */
  onClose(reason: string): void;
}

/** A byte channel to the server: a WebSocket, or the kernel's relay. */
export interface Channel {
  send(frame: Uint8Array<ArrayBuffer>): void;
  close(): void;
}

/** One way to reach the room. */
export interface Dialer {
  readonly via: string;
  /** How long it may take to Welcome; `CONNECT_TIMEOUT_MS` unless told. */
  readonly timeoutMs?: number;
  /** Begin to open a channel; what happens is told to the handlers. */
  open(handlers: ChannelHandlers): Channel;
}

export type ConnectionState = "connecting" | "live" | "offline" | "closed";

export interface Status {
  readonly state: ConnectionState;
  /** The way by which it is live, or was last. */
  readonly via: string;
  /** Envelopes that the server has not judged. */
  readonly pendingCount: number;
  readonly isReadOnly: boolean;
  /** Whether the server cannot store at the moment. */
  readonly isDegraded: boolean;
  /** Why it is offline, or was closed; empty when it is live. */
  readonly reason: string;
}

/** After these there is no point in coming back: it would make a deleted room anew. */
const FINAL_BYES: ReadonlySet<string> = new Set(["superseded", "room-deleted", "access-denied"]);

/** Tries of a dialer that was live, before the others: a server that restarts is back after about 3 s. */
const PROVEN_TRIES_MAX = 8;

export class Connection {
  private readonly replica: Replica;
  private readonly dialers: readonly Dialer[];
  private readonly notify: (notifications: readonly Notification[]) => void;
  private readonly random: () => number;
  private state: ConnectionState = "connecting";
  private reason = "";
  private dialIndex = 0;
  /** The dialer that was live last, and its failures since. */
  private provenIndex = -1;
  private provenFailuresCount = 0;
  private failuresCount = 0;
  private retryAfterMs = 0;
  private channel: Channel | undefined;
  /** Of the present dial: its end is told here, once. */
  private handlers: ChannelHandlers | undefined;
  private isPumpPlanned = false;
  private presenceJson = "";
  private isPresenceDue = false;
  private presenceTimer: ReturnType<typeof setTimeout> | undefined;
  private connectTimer: ReturnType<typeof setTimeout> | undefined;
  private reconnectTimer: ReturnType<typeof setTimeout> | undefined;
  private sendTimer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param dialers Ways to reach the room, the best first; each is tried before a pause.
   * @param notify Gets what the replica tells; an empty list when only the status changed.
   */
  constructor(replica: Replica, dialers: readonly Dialer[], notify: (notifications: readonly Notification[]) => void, random: () => number = Math.random) {
    this.replica = replica;
    this.dialers = dialers;
    this.notify = notify;
    this.random = random;
  }

  get status(): Status {
    const { pendingCount, isReadOnly, isDegraded } = this.replica;
    return { state: this.state, via: this.dialer.via, pendingCount, isReadOnly, isDegraded, reason: this.reason };
  }

  start(): void {
    this.dial();
  }

  /** For good. */
  close(): void {
    this.state = "closed";
    clearTimeout(this.reconnectTimer);
    clearTimeout(this.presenceTimer);
    this.drop();
    this.notify([]);
  }

  /** Send what is pending, after the present task, so that what is edited together goes out together. */
  pump(): void {
    if (this.isPumpPlanned) return;
    this.isPumpPlanned = true;
    queueMicrotask(() => {
      this.isPumpPlanned = false;
      this.sendPending();
    });
  }

  /** Show the others this state, also after a reconnect; the newest alone, and no more than a few times a second. */
  setPresence(stateJson: string): void {
    this.presenceJson = stateJson;
    this.isPresenceDue = true;
    if (this.presenceTimer === undefined) this.sendPresence();
  }

  private sendPresence(): void {
    this.presenceTimer = undefined;
    if (this.state !== "live" || !this.isPresenceDue) return;
    this.isPresenceDue = false;
    this.send({ kind: "presence", body: { stateJson: this.presenceJson } });
    this.presenceTimer = setTimeout(() => this.sendPresence(), PRESENCE_INTERVAL_MS);
  }

  /** Tell the others; lost when nobody is connected. */
  broadcast(name: string, payloadJson: string): void {
    if (this.state === "live") this.send({ kind: "event", body: { name, payloadJson } });
  }

  // ---------------------------------------------------------------- dialing

  private get dialer(): Dialer {
    return this.dialers[this.dialIndex] as Dialer;
  }

  private dial(): void {
    let isCurrent = true;
    const handlers: ChannelHandlers = {
      onOpen: () => {
        if (isCurrent) this.send({ kind: "hello", body: this.replica.hello() });
      },
      onFrame: (frame) => {
        if (isCurrent) this.onFrame(frame);
      },
      onClose: (reason) => {
        if (!isCurrent) return;
        isCurrent = false;
        this.onLost(reason);
      },
    };
    this.connectTimer = setTimeout(() => {
      this.channel?.close();
      handlers.onClose("the server did not answer in time");
    }, this.dialer.timeoutMs ?? CONNECT_TIMEOUT_MS);
    this.channel = undefined;
    this.handlers = handlers;
    try {
      const channel = this.dialer.open(handlers);
      if (isCurrent) this.channel = channel;
    } catch (error) {
      handlers.onClose(String(error));
    }
  }

  private drop(): void {
    clearTimeout(this.connectTimer);
    clearTimeout(this.sendTimer);
    const channel = this.channel;
    this.channel = undefined;
    this.replica.disconnected();
    channel?.close();
  }

  private onLost(reason: string): void {
    if (this.state === "closed") return;
    const wasLive = this.state === "live";
    this.drop();
    this.state = "offline";
    this.reason = reason;
    this.reconnectTimer = setTimeout(() => this.dial(), this.nextDelayMs(wasLive));
    this.retryAfterMs = 0;
    this.notify([{ kind: "presence" }]);
  }

  /** Choose the next dialer, and when: one that worked is given time to come back, one that did not gives way. */
  private nextDelayMs(wasLive: boolean): number {
    if (wasLive) return this.backOffMs();
    const isProven = this.dialIndex === this.provenIndex;
    if (isProven && ++this.provenFailuresCount < PROVEN_TRIES_MAX) {
      this.failuresCount += 1;
      return this.backOffMs();
    }
    this.dialIndex = (this.dialIndex + 1) % this.dialers.length;
    if (this.dialIndex !== 0) return 0;
    this.failuresCount += 1;
    return this.backOffMs();
  }

  /** Full jitter, so that a thousand pages do not come back at once; never before the server wants it. */
  private backOffMs(): number {
    const ceiling = Math.min(RECONNECT_MAX_MS, RECONNECT_MIN_MS * 2 ** Math.min(this.failuresCount, 20));
    return this.retryAfterMs + this.random() * ceiling;
  }

  // ---------------------------------------------------------------- frames

  private onFrame(frame: Uint8Array): void {
    let notifications: Notification[];
    try {
      notifications = this.replica.receive(decodeServerMessage(frame), Date.now());
    } catch (error) {
      if (!(error instanceof CollabKernelError)) throw error;
      console.error("collabkernel: a frame of the server was refused", error);
      this.replica.requestResync();
      this.channel?.close();
      return;
    }
    for (const notification of notifications) {
      if (notification.kind === "welcomed") this.onWelcomed();
      else if (notification.kind === "bye") this.onBye(notification.code, notification.reason, notification.retryAfterMs);
    }
    this.notify(notifications);
    this.sendPending();
  }

  private onWelcomed(): void {
    clearTimeout(this.connectTimer);
    this.state = "live";
    this.reason = "";
    this.failuresCount = 0;
    this.provenIndex = this.dialIndex;
    this.provenFailuresCount = 0;
    clearTimeout(this.presenceTimer);
    this.isPresenceDue = this.presenceJson !== "";
    this.sendPresence();
  }

  private onBye(code: string, reason: string, retryAfterMs: number): void {
    if (FINAL_BYES.has(code)) {
      this.reason = reason;
      this.close();
      return;
    }
    this.retryAfterMs = retryAfterMs;
    this.handlers?.onClose(reason);
  }

  private sendPending(): void {
    if (this.state !== "live" || this.channel === undefined) return;
    for (const message of this.replica.takeToSend(Date.now())) this.send(message);
    clearTimeout(this.sendTimer);
    const waitMs = this.replica.waitMs(Date.now());
    if (waitMs !== undefined) this.sendTimer = setTimeout(() => this.sendPending(), waitMs);
  }

  private send(message: ClientMessage): void {
    const frame = encodeClientMessage(message);
    try {
      this.channel?.send(frame);
    } catch (error) {
      // A comm throws when its kernel is gone. What was not sent is still pending.
      this.handlers?.onClose(String(error));
    }
  }
}

/** The kernel's subprotocol. */
export const SUBPROTOCOL = "collabkernel.v1";

/** Dials a WebSocket; the URL may need asking for, such as for a one-use ticket. */
export function webSocketDialer(via: string, url: string | (() => Promise<string>), WebSocketClass: typeof WebSocket = WebSocket): Dialer {
  return {
    via,
    open(handlers) {
      let socket: WebSocket | undefined;
      let isClosed = false;
      const close = (reason: string): void => {
        if (isClosed) return;
        isClosed = true;
        socket?.close();
        // Never inside `open` itself: the caller has no channel yet.
        queueMicrotask(() => handlers.onClose(reason));
      };
      Promise.resolve(typeof url === "string" ? url : url()).then(
        (address) => {
          if (!isClosed) socket = listen(new WebSocketClass(address, [SUBPROTOCOL]), handlers, close);
        },
        (error: unknown) => close(String(error)),
      );
      return {
        send: (frame) => {
          if (socket?.readyState === WebSocketClass.OPEN) socket.send(frame);
        },
        close: () => close("closed here"),
      };
    },
  };
}

function listen(socket: WebSocket, handlers: ChannelHandlers, close: (reason: string) => void): WebSocket {
  socket.binaryType = "arraybuffer";
  socket.onopen = () => handlers.onOpen();
  socket.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer) handlers.onFrame(new Uint8Array(data));
    else close("the server sent text");
  };
  socket.onclose = ({ code, reason }) => close(reason || `the connection was closed (${code})`);
  return socket;
}
