/** The line above a view: what it shows, who is here, and how the connection does. */

import type { Status } from "../connection.ts";
import type { Participant, Room } from "../room.ts";
import { arrange, h } from "./dom.ts";

const CHIPS_MAX = 8;
/** Edits are mostly answered at once: their count is shown when none has been for so long. */
const UNSENT_MS = 3000;

export class Header {
  readonly element: HTMLElement;
  private readonly title = h("span", { class: "ck-title" });
  private readonly people = h("ul", { class: "ck-people", role: "list", "aria-label": "Who is here" });
  private readonly status = h("span", { class: "ck-status", role: "status" });
  private readonly chipByKey = new Map<string, HTMLElement>();
  private pendingCount = 0;
  private isStuck = false;
  private stuckTimer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    this.element = h("div", { class: "ck-header" }, this.title, this.people, this.status);
  }

  update(title: string, room: Room): void {
    this.title.textContent = title;
    this.watchPending(room);
    this.updateStatus(room.status);
    this.updatePeople(room.presence);
  }

  destroy(): void {
    clearTimeout(this.stuckTimer);
  }

  /** Note whether edits are waiting, and none of them was answered for a while. */
  private watchPending(room: Room): void {
    const { pendingCount } = room.status;
    if (pendingCount === 0 || pendingCount < this.pendingCount) {
      this.destroy();
      this.stuckTimer = undefined;
      this.isStuck = false;
    }
    this.pendingCount = pendingCount;
    if (pendingCount === 0) return;
    this.stuckTimer ??= setTimeout(() => {
      this.isStuck = true;
      this.updateStatus(room.status);
    }, UNSENT_MS);
  }

  private updateStatus(status: Status): void {
    const { text, tone, hint } = describe(status, this.isStuck);
    // Written only when it changes, or a screen reader would say it again and again.
    if (this.status.textContent !== text) this.status.textContent = text;
    this.status.dataset.tone = tone;
    this.status.title = hint;
  }

  private updatePeople(everybody: readonly Participant[]): void {
    const people = new Map<string, Participant>();
    for (const person of everybody) {
      const key = `${person.kind}/${person.actor}/${person.name}`;
      if (!people.has(key)) people.set(key, person);
    }
    const chips: HTMLElement[] = [];
    for (const [key, person] of [...people].slice(0, CHIPS_MAX)) {
      const chip = this.chipByKey.get(key) ?? h("li", { class: "ck-chip" });
      this.chipByKey.set(key, chip);
      const name = person.isMe ? `${person.name} (you)` : person.kind === "person" ? person.name : `${person.name} (${person.kind})`;
      chip.textContent = person.kind === "agent" ? `✦${initials(person.name)}` : initials(person.name);
      chip.title = name;
      chip.setAttribute("aria-label", name);
      chip.dataset.kind = person.kind;
      chip.style.setProperty("--ck-who", colorOf(person));
      chips.push(chip);
    }
    const rest = people.size - chips.length;
    if (rest > 0) chips.push(h("li", { class: "ck-chip", "aria-label": `${rest} more` }, `+${rest}`));
    arrange(this.people, chips);
  }
}

/** A person's colour: what came over the wire goes into a style only as #rrggbb; without one, a hue of his name. */
export function colorOf({ color, actor }: Participant): string {
  if (/^#[0-9a-f]{6}$/i.test(color)) return color;
  let hash = 0;
  for (const char of actor) hash = (Math.imul(hash, 31) + (char.codePointAt(0) as number)) >>> 0;
  return `hsl(${hash % 360} 55% 42%)`;
}

function initials(name: string): string {
  const words = name.split(/[\s_.-]+/).filter((word) => word !== "");
  const [first = "?", ...rest] = words;
  const last = rest.at(-1);
  return ([...first][0] ?? "?").toUpperCase() + (last ? ([...last][0] as string).toUpperCase() : "");
}

function describe({ state, via, pendingCount, isReadOnly, isDegraded, reason }: Status, isStuck: boolean): { text: string; tone: string; hint: string } {
  const unsent = pendingCount > 0 ? `, ${pendingCount} unsent` : "";
  if (state === "connecting") return { text: "connecting", tone: "wait", hint: "" };
  if (state === "closed") return { text: reason || "closed", tone: "bad", hint: "Run the cell again to join anew" };
  if (state !== "live") return { text: `offline${unsent}`, tone: "bad", hint: reason };
  if (isDegraded) return { text: `not saving${unsent}`, tone: "bad", hint: "The server cannot store at the moment; your edits are kept here" };
  if (isReadOnly) return { text: "read only", tone: "live", hint: "You may read this room but not write to it" };
  const text = via === "relay" ? "via kernel" : "live";
  const tone = pendingCount > 0 ? "wait" : "live";
  if (isStuck) return { text: `${text}${unsent}`, tone, hint: "The server has not taken your newest edits yet; they are kept here" };
  return { text, tone, hint: via === "relay" ? "Connected through the kernel: waits while it is busy" : "Connected" };
}
