/** The anywidget view of any live value. */

import type { OpId } from "../ids.ts";
import { keyOf } from "../ids.ts";
import type { Room } from "../room.ts";
import type { Notification } from "../replica.ts";
import { containerView, type ContainerView, type ViewContext } from "./containers.ts";
import type { Model } from "./comm.ts";
import { h } from "./dom.ts";
import { Header, colorOf } from "./header.ts";
import { acquireRoom } from "./registry.ts";

/** Presence is sent at most this often. */
const PRESENCE_MS = 250;
const ALERT_MS = 8000;

/** One rendered widget. */
class RootView implements ViewContext {
  private readonly room: Room;
  private readonly target: OpId;
  private readonly name: string;
  private readonly root: HTMLElement;
  private readonly header = new Header();
  private readonly alert = h("div", { class: "ck-alert", role: "alert", hidden: true });
  private readonly content = h("div", { class: "ck-content" }, h("p", { class: "ck-wait" }, "Waiting for the room …"));
  private readonly stops: (() => void)[];
  private view: ContainerView | undefined;
  private shownKey = "";
  private isPlanned = false;
  private alertTimer: ReturnType<typeof setTimeout> | undefined;
  private presenceTimer: ReturnType<typeof setTimeout> | undefined;
  private focused = "";

  constructor(room: Room, target: OpId, name: string, root: HTMLElement) {
    this.room = room;
    this.target = target;
    this.name = name;
    this.root = root;
    root.append(this.header.element, this.alert, this.content);
    root.addEventListener("focusin", this.onFocus);
    root.addEventListener("focusout", this.onFocus);
    root.addEventListener("keydown", saveOutside);
    this.stops = [room.onNotification((notification) => this.onNotification(notification)), room.onStatus(() => this.plan())];
    this.update();
  }

  isReadOnly(): boolean {
    const tree = this.room.replica.tree;
    return this.room.replica.isReadOnly || this.room.status.state === "closed" || tree.path(this.target) === undefined;
  }

  attempt(edit: () => void): void {
    try {
      edit();
    } catch (error) {
      this.complain(error instanceof Error ? error.message : String(error));
      this.plan();
    }
  }

  destroy(): void {
    for (const stop of this.stops) stop();
    this.view?.destroy();
    this.header.destroy();
    clearTimeout(this.alertTimer);
    clearTimeout(this.presenceTimer);
    this.root.removeEventListener("focusin", this.onFocus);
    this.root.removeEventListener("focusout", this.onFocus);
    this.root.removeEventListener("keydown", saveOutside);
    this.root.replaceChildren();
  }

  private onNotification(notification: Notification): void {
    if (notification.kind === "refused") this.complain(`An edit was taken back: ${notification.error.message || notification.error.code}`);
    // A rate is kept by waiting, and nobody need know.
    if (notification.kind === "notice" && notification.error.code !== "rate") this.complain(notification.error.message);
    this.plan();
  }

  /** Redraw once a frame, however much has changed. */
  private plan(): void {
    if (this.isPlanned) return;
    this.isPlanned = true;
    requestAnimationFrame(() => {
      this.isPlanned = false;
      this.update();
    });
  }

  private update(): void {
    const { tree } = this.room.replica;
    const node = tree.find(this.target);
    const path = tree.path(this.target);
    const title = path === undefined || path.length === 0 ? this.name : `${this.name} / ${path.join(" / ")}`;
    this.header.update(title, this.room);
    this.root.classList.toggle("ck-readonly", this.isReadOnly());
    if (node === undefined) return;
    this.root.classList.toggle("ck-detached", path === undefined);
    const live = this.room.at(this.target);
    if (this.view === undefined || this.shownKey !== keyOf(live.id)) {
      this.view?.destroy();
      this.view = containerView(live, this);
      this.shownKey = keyOf(live.id);
      this.content.replaceChildren(this.view.element);
    }
    this.view.update();
    this.showFocus();
  }

  private complain(message: string): void {
    this.alert.textContent = message;
    this.alert.hidden = false;
    clearTimeout(this.alertTimer);
    this.alertTimer = setTimeout(() => void (this.alert.hidden = true), ALERT_MS);
  }

  // ---------------------------------------------------------------- presence

  private readonly onFocus = (): void => {
    this.presenceTimer ??= setTimeout(() => {
      this.presenceTimer = undefined;
      const active = document.activeElement;
      const cell = active !== null && this.root.contains(active) ? cellAround(active) : "";
      if (cell === this.focused) return;
      this.focused = cell;
      this.room.setPresence(cell === "" ? {} : { focus: cell });
    }, PRESENCE_MS);
  };

  /** Outline the cells in which others are. */
  private showFocus(): void {
    const whoByCell = new Map<string, { name: string; color: string }>();
    for (const person of this.room.presence) {
      const { isMe, name, state } = person;
      if (!isMe && typeof state.focus === "string") whoByCell.set(state.focus, { name, color: colorOf(person) });
    }
    for (const cell of this.root.querySelectorAll<HTMLElement>("[data-cell]")) {
      const who = whoByCell.get(cell.dataset.cell ?? "");
      cell.classList.toggle("ck-focused", who !== undefined);
      if (who) {
        cell.style.setProperty("--ck-who", who.color);
        cell.dataset.who = who.name;
      } else delete cell.dataset.who;
    }
  }
}

/** The cell that a control belongs to; a row's buttons are beside its own, inside that of its container. */
function cellAround(control: Element): string {
  const row = control.closest(".ck-buttons")?.parentElement;
  const cell = row?.querySelector<HTMLElement>(":scope > .ck-cell") ?? control.closest<HTMLElement>("[data-cell]");
  return cell?.dataset.cell ?? "";
}

/** Ctrl+S saves the notebook here too; all other shortcuts of JupyterLab are kept away from our controls. */
function saveOutside(event: KeyboardEvent): void {
  if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "s") return;
  event.preventDefault();
  (event.currentTarget as HTMLElement).parentElement?.dispatchEvent(new KeyboardEvent("keydown", event));
}

// `render`, not `initialize`: that one runs for every model on page load, shown or not.
function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  const { room, release } = acquireRoom(model);
  const root = h("div", { class: "ck-view", "data-lm-suppress-shortcuts": "true" });
  el.append(root);
  const [site, counter] = model.get("_target") as [number, number];
  const view = new RootView(room, { site, counter }, String(model.get("_room_name")), root);
  return () => {
    view.destroy();
    root.remove();
    release();
  };
}

export default { render };
