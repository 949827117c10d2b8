/** A widget's model, in place of anywidget's and a kernel. */

import type { Model } from "../src/view/comm.ts";
import type { FakeServer } from "./fake_server.ts";

/** A widget model whose kernel relays to the fake server. */
export class KernelModel implements Model {
  readonly listeners = new Map<string, Set<(...args: never[]) => void>>();
  readonly sent: { kind: string; id: string }[] = [];
  isBusy = false;
  /** Its kernel is gone: a comm throws then. */
  isGone = false;
  private readonly channels = new Map<string, { send(frame: Uint8Array): void; close(): void }>();
  private readonly server: FakeServer;
  private readonly traits: Record<string, unknown>;

  constructor(server: FakeServer, target: readonly [number, number] = [0, 0], roomKey = `memory|${Math.random()}`) {
    this.server = server;
    this.traits = { _room_key: roomKey, _room_name: "planning", _target: target, _socket_path: "", _has_socket: false };
  }

  get(name: string): unknown {
    return this.traits[name];
  }

  send(content: { kind: string; id: string }, _callbacks?: unknown, buffers: ArrayBuffer[] = []): void {
    if (this.isGone) throw new Error("Cannot send");
    this.sent.push(content);
    if (this.isBusy) return;
    const { kind, id } = content;
    if (kind === "relay-open") {
      const channel = this.server.dialer("relay").open({
        onOpen: () => this.emit({ kind: "relay-opened", id }),
        onFrame: (frame) => this.emit({ kind: "relay-frame", id }, [new DataView(frame.slice().buffer)]),
        onClose: (reason) => this.emit({ kind: "relay-closed", id, reason }),
      });
      this.channels.set(id, channel);
    } else if (kind === "relay-frame") this.channels.get(id)?.send(new Uint8Array(buffers[0] as ArrayBuffer));
    else if (kind === "relay-close") this.channels.get(id)?.close();
  }

  on(event: string, callback: (...args: never[]) => void): void {
    const callbacks = this.listeners.get(event) ?? new Set();
    this.listeners.set(event, callbacks.add(callback));
  }

  off(event: string, callback: (...args: never[]) => void): void {
    this.listeners.get(event)?.delete(callback);
  }

  private emit(content: unknown, buffers: DataView[] = []): void {
    for (const callback of [...(this.listeners.get("msg:custom") ?? [])]) (callback as (...args: unknown[]) => void)(content, buffers);
  }
}
