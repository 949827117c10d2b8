/**
 * Talking to the kernel behind a widget: one-use tickets, and the relay that carries the room's frames when the page
 * cannot reach the server itself.
 *
 * ======================================  =======================================================
 * page to kernel                          kernel to page
 * ======================================  =======================================================
 * {kind: "ticket", id, origin}            {kind: "ticket", id, url, ticket} or {.., error}
 * {kind: "relay-open", id}                {kind: "relay-opened", id}, {kind: "relay-closed", id, reason}
 * {kind: "relay-frame", id} + 1 buffer    {kind: "relay-frame", id} + 1 buffer
 * {kind: "relay-close", id}
 * ======================================  =======================================================
 *
 * `collabkernel_widgets/relay.py` is the other end.
 */

import type { Dialer } from "../connection.ts";

/** What we need of anywidget's model. */
export interface Model {
  get(name: string): unknown;
  send(content: unknown, callbacks?: unknown, buffers?: (ArrayBuffer | ArrayBufferView)[]): void;
  on(event: string, callback: (...args: never[]) => void): void;
  off(event: string, callback: (...args: never[]) => void): void;
}

interface Message {
  readonly kind?: string;
  readonly id?: string;
  readonly [name: string]: unknown;
}

/** An idle kernel answers in milliseconds; a busy one may not for minutes, and then another way is tried. */
const ANSWER_TIMEOUT_MS = 4000;

/** The widgets of one room on this page, any of whose kernels will do. */
export class CommPool {
  /** With how many views show each: one widget may be shown in several cells. */
  private readonly models = new Map<Model, number>();
  private nextId = 0;

  add(model: Model): void {
    this.models.set(model, (this.models.get(model) ?? 0) + 1);
  }

  remove(model: Model): void {
    const viewsCount = (this.models.get(model) ?? 0) - 1;
    if (viewsCount > 0) this.models.set(model, viewsCount);
    else this.models.delete(model);
  }

  /** The URL of the room's socket with a one-use ticket in it; asked for anew at each dial. */
  async ticketUrl(): Promise<string> {
    const model = this.anyModel();
    const id = this.newId();
    const { promise, resolve, reject } = Promise.withResolvers<Message>();
    const stop = listen(model, id, (message) => {
      if (message.kind === "ticket") resolve(message);
    });
    const timer = setTimeout(() => reject(new Error("the kernel gave no ticket: it is busy")), ANSWER_TIMEOUT_MS);
    try {
      // The page's origin, for a server that is on another: the ticket allows this page to use it.
      model.send({ kind: "ticket", id, origin: location.origin });
      const { url, ticket, error } = await promise;
      if (typeof url !== "string" || typeof ticket !== "string") throw new Error(String(error ?? "the kernel gave no ticket"));
      const address = new URL(socketUrl(url));
      address.searchParams.set("auth_ticket", ticket);
      return address.href;
    } finally {
      clearTimeout(timer);
      stop();
    }
  }

  /** The kernel as a channel. */
  relayDialer(): Dialer {
    return {
      via: "relay",
      timeoutMs: ANSWER_TIMEOUT_MS,
      open: (handlers) => {
        let stop = (): void => {};
        let isClosed = false;
        const close = (reason: string): void => {
          if (isClosed) return;
          isClosed = true;
          stop();
          queueMicrotask(() => handlers.onClose(reason));
        };
        const [model] = this.models.keys();
        if (model === undefined) {
          close("no widget of this room is open");
          return { send: () => {}, close: () => {} };
        }
        const id = this.newId();
        stop = listen(model, id, ({ kind, reason }, buffers) => {
          if (kind === "relay-opened") handlers.onOpen();
          else if (kind === "relay-closed") close(String(reason ?? "the kernel closed the relay"));
          else if (kind === "relay-frame" && buffers[0]) handlers.onFrame(bytesOf(buffers[0]));
        }, () => close("the kernel is gone"));
        model.send({ kind: "relay-open", id });
        return {
          send: (frame) => model.send({ kind: "relay-frame", id }, undefined, [frame.buffer]),
          close: () => {
            if (isClosed) return;
            close("closed here");
            try {
              model.send({ kind: "relay-close", id });
            } catch {
              // The kernel is gone, and its end of the relay with it.
            }
          },
        };
      },
    };
  }

  private anyModel(): Model {
    const [model] = this.models.keys();
    if (model === undefined) throw new Error("no widget of this room is open");
    return model;
  }

  /** Unique among the pages of one kernel. */
  private newId(): string {
    this.nextId += 1;
    return `${PAGE_ID}-${this.nextId}`;
  }
}

const PAGE_ID = Math.random().toString(36).slice(2);

function listen(model: Model, id: string, onMessage: (message: Message, buffers: DataView[]) => void, onGone?: () => void): () => void {
  const oncustom = (message: Message, buffers?: DataView[]): void => {
    if (message?.id === id) onMessage(message, buffers ?? []);
  };
  const onlive = (): void => {
    if ((model as { comm_live?: boolean }).comm_live === false) onGone?.();
  };
  model.on("msg:custom", oncustom);
  model.on("comm_live_update", onlive);
  return () => {
    model.off("msg:custom", oncustom);
    model.off("comm_live_update", onlive);
  };
}

function bytesOf(buffer: DataView | ArrayBuffer): Uint8Array {
  return buffer instanceof ArrayBuffer ? new Uint8Array(buffer) : new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

/** The Jupyter page's configuration; undefined on pages of others. */
function pageConfig(): Record<string, unknown> | undefined {
  const text = document.getElementById("jupyter-config-data")?.textContent;
  if (!text) return undefined;
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

/** Where this Jupyter page's own server has `path`; undefined when this is no Jupyter page. */
export function sameServerUrl(path: string): string | undefined {
  const config = pageConfig();
  if (typeof config?.baseUrl !== "string") return undefined;
  const base = typeof config.wsUrl === "string" && config.wsUrl !== "" ? config.wsUrl : config.baseUrl;
  return toSocket(new URL(path, new URL(base.endsWith("/") ? base : `${base}/`, document.baseURI)));
}

/** An absolute URL as it is, a relative one on this page's server. */
export function socketUrl(url: string): string {
  if (/^[a-z]+:\/\//i.test(url)) return toSocket(new URL(url));
  return sameServerUrl(url.replace(/^\//, "")) ?? toSocket(new URL(url, document.baseURI));
}

function toSocket(url: URL): string {
  url.protocol = url.protocol === "https:" || url.protocol === "wss:" ? "wss:" : "ws:";
  return url.href;
}
