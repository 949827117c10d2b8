// @vitest-environment jsdom
import { afterEach, describe, expect, it } from "vitest";
import { EmptyText, type LiveText } from "../src/live.ts";
import { Room } from "../src/room.ts";
import view from "../src/view/index.ts";
import { parseNumber } from "../src/view/editors.ts";
import { movedIndex, spliceBetween } from "../src/view/splice.ts";
import { Role } from "../src/wire/messages.ts";
import { FakeServer } from "./fake_server.ts";
import { KernelModel } from "./kernel_model.ts";

/** Lets come about what follows from what was done: turns of the loop, since a busy machine is late with all timers. */
async function pause(turns = 50): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
}
const { render } = view;
let cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups) cleanup();
  cleanups = [];
  document.body.replaceChildren();
});

async function show(server: FakeServer, target?: readonly [number, number]): Promise<{ el: HTMLElement; model: KernelModel }> {
  const model = new KernelModel(server, target);
  const el = document.createElement("div");
  document.body.append(el);
  cleanups.push(render({ model, el }));
  await pause();
  return { el, model };
}

async function script(server: FakeServer): Promise<Room> {
  const room = new Room("script", [server.dialer()]);
  cleanups.push(() => room.close());
  await room.ready;
  return room;
}

const byLabel = <T extends HTMLElement>(root: HTMLElement, label: string): T => {
  const found = [...root.querySelectorAll<T>("[aria-label]")].filter((each) => each.getAttribute("aria-label") === label);
  expect(found.length, `elements called ${label}`).toBeGreaterThan(0);
  return found[0] as T;
};

function type(input: HTMLInputElement | HTMLTextAreaElement, value: string): void {
  input.value = value;
  input.dispatchEvent(new Event("input", { bubbles: true }));
  input.dispatchEvent(new Event("change", { bubbles: true }));
}

describe("the view", () => {
  it("shows a room through the kernel's relay, follows it, and edits it in place", async () => {
    const server = new FakeServer();
    const bob = await script(server);
    bob.root.set("title", "Plan");
    bob.root.set("tasks", ["write", { done: false }]);
    await pause(1);
    server.flush();
    const { el } = await show(server);
    expect(byLabel<HTMLInputElement>(el, "title").value).toBe("Plan");
    expect(el.querySelector(".ck-status")?.textContent).toBe("via kernel");

    bob.root.set("title", "Better plan");
    await pause(1);
    server.flush();
    await pause();
    expect(byLabel<HTMLInputElement>(el, "title").value).toBe("Better plan");

    type(byLabel(el, "item 0"), "rewrite");
    const done = byLabel<HTMLInputElement>(el, "done");
    done.checked = true;
    done.dispatchEvent(new Event("change"));
    await pause();
    server.flush();
    expect(bob.toJSON()).toEqual({ title: "Better plan", tasks: ["rewrite", { done: true }] });
  });

  it("moves, deletes and adds list elements by buttons", async () => {
    const server = new FakeServer();
    const bob = await script(server);
    const list = bob.list("l");
    for (const name of ["a", "b", "c"]) list.push(name);
    await pause(1);
    server.flush();
    const { el } = await show(server, [list.id.site, list.id.counter]);
    const rows = (): HTMLElement[] => [...el.querySelectorAll<HTMLElement>(".ck-row")];
    byLabel<HTMLButtonElement>(rows()[2] as HTMLElement, "Move up").click();
    byLabel<HTMLButtonElement>(rows()[0] as HTMLElement, "Delete").click();
    const adder = el.querySelector<HTMLFormElement>(".ck-adder") as HTMLFormElement;
    (adder.querySelector("input") as HTMLInputElement).value = "12";
    (adder.querySelector("select") as HTMLSelectElement).value = "number";
    const enter = new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true });
    adder.querySelector("input")?.dispatchEvent(enter);
    await pause();
    server.flush();
    expect(bob.toJSON()).toEqual({ l: ["c", "b", 12] });
    expect(rows().map((row) => row.querySelector("input")?.value)).toEqual(["c", "b", "12"]);
    expect(enter.defaultPrevented, "or a browser would submit a second time").toBe(true);
  });

  it("never overwrites what a person is typing, and says that it was overtaken", async () => {
    const server = new FakeServer();
    const bob = await script(server);
    bob.root.set("title", "Plan");
    await pause(1);
    server.flush();
    const { el } = await show(server);
    const input = byLabel<HTMLInputElement>(el, "title");
    input.focus();
    input.value = "Plan by ann";
    bob.root.set("title", "Plan by bob");
    await pause(1);
    server.flush();
    await pause();
    expect(input.value).toBe("Plan by ann");
    expect(input.classList.contains("ck-overtaken")).toBe(true);
    input.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
    await pause();
    server.flush();
    expect(bob.root.get("title")).toBe("Plan by ann");
  });

  it("keeps the caret while others type in the same text", async () => {
    const server = new FakeServer();
    const bob = await script(server);
    bob.root.set("note", new EmptyText("hello world"));
    await pause(1);
    server.flush();
    const { el } = await show(server);
    const area = el.querySelector("textarea") as HTMLTextAreaElement;
    area.focus();
    area.setSelectionRange(5, 5);
    (bob.root.get("note") as LiveText).insert(0, ">> ");
    (bob.root.get("note") as LiveText).insert(14, "!");
    await pause(1);
    server.flush();
    await pause();
    expect(area.value).toBe(">> hello world!");
    expect(area.selectionStart).toBe(8);
    area.setRangeText(", dear", 8, 8, "end");
    area.dispatchEvent(new Event("input"));
    await pause();
    server.flush();
    expect(String(bob.root.get("note"))).toBe(">> hello, dear world!");
  });

  it("moves the caret by each of several edits that come in one message", async () => {
    const server = new FakeServer();
    const bob = await script(server);
    bob.root.set("note", new EmptyText("[middle]"));
    await pause(1);
    server.flush();
    const { el } = await show(server);
    const area = el.querySelector("textarea") as HTMLTextAreaElement;
    area.focus();
    area.setSelectionRange(8, 8);
    for (const [index, sign] of [..."Bob"].entries()) {
      (bob.root.get("note") as LiveText).insert(index, sign);
      await pause(1);
    }
    server.flush();
    await pause();
    expect(area.value).toBe("Bob[middle]");
    expect(area.selectionStart).toBe(11);
  });

  it("lets others type while a composition is under way", async () => {
    const server = new FakeServer();
    const bob = await script(server);
    bob.root.set("note", new EmptyText("abc"));
    await pause(1);
    server.flush();
    const { el } = await show(server);
    const area = el.querySelector("textarea") as HTMLTextAreaElement;
    area.focus();
    area.dispatchEvent(new CompositionEvent("compositionstart"));
    area.value = "abcに";
    area.dispatchEvent(new Event("input"));
    (bob.root.get("note") as LiveText).insert(0, "123");
    await pause(1);
    server.flush();
    await pause();
    expect(area.value).toBe("abcに");
    area.dispatchEvent(new CompositionEvent("compositionend"));
    await pause();
    server.flush();
    expect(area.value).toBe("123abcに");
    expect(String(bob.root.get("note"))).toBe("123abcに");
  });

  it("shows contents as text, whatever they hold", async () => {
    const server = new FakeServer();
    const bob = await script(server);
    const evil = "<img src=x onerror=alert(1)>";
    bob.root.set(evil, evil);
    await pause(1);
    server.flush();
    const { el } = await show(server);
    expect(el.querySelector("img")).toBeNull();
    expect(el.querySelector(".ck-head")?.textContent).toBe(evil);
  });

  it("disables everything for a reader", async () => {
    const server = new FakeServer();
    const bob = await script(server);
    bob.root.set("title", "Plan");
    bob.root.set("on", true);
    await pause(1);
    server.flush();
    server.role = Role.READER;
    const { el } = await show(server);
    expect(el.querySelector(".ck-status")?.textContent).toBe("read only");
    expect(byLabel<HTMLInputElement>(el, "title").readOnly).toBe(true);
    expect(byLabel<HTMLInputElement>(el, "on").disabled).toBe(true);
    expect(byLabel<HTMLButtonElement>(el, "Delete").disabled).toBe(true);
    expect(el.querySelector(".ck-adder")?.parentElement?.hidden).toBe(true);
  });

  it("says why an edit was taken back", async () => {
    const server = new FakeServer();
    const { el } = await show(server);
    server.isRefused = () => true;
    const adder = el.querySelector<HTMLFormElement>(".ck-adder") as HTMLFormElement;
    const [key, value] = [...adder.querySelectorAll("input")] as [HTMLInputElement, HTMLInputElement];
    key.value = "k";
    value.value = "v";
    adder.requestSubmit();
    await pause();
    expect(el.querySelector(".ck-alert")?.textContent).toContain("taken back");
    expect(el.querySelectorAll(".ck-row")).toHaveLength(0);
  });

  it("shares one connection among the widgets of a room and closes it after the last", async () => {
    const server = new FakeServer();
    const { model } = await show(server);
    const el = document.createElement("div");
    const cleanup = render({ model, el });
    await pause();
    expect(server.sessions.size).toBe(1);
    expect(model.sent.filter(({ kind }) => kind === "relay-open")).toHaveLength(1);
    cleanup();
    expect(el.children).toHaveLength(0);
  });

  it("tells how much is unsent when the server answers nothing, also while it is live", async () => {
    const server = new FakeServer();
    const bob = await script(server);
    bob.root.set("title", "Plan");
    await pause(1);
    server.flush();
    const { el } = await show(server);
    const status = (): string | null | undefined => el.querySelector(".ck-status")?.textContent;
    server.isAway = true;
    type(byLabel(el, "title"), "Better plan");
    await pause();
    expect(status()).toBe("via kernel");
    await new Promise((resolve) => setTimeout(resolve, 3200));
    expect(status()).toBe("via kernel, 1 unsent");
    server.isAway = false;
    for (const session of server.sessions) session.send({ degraded: { on: false } });
    await pause();
    expect(status()).toBe("via kernel");
  });

  it("goes on offline and sends when the way is free again", async () => {
    const server = new FakeServer();
    const { el } = await show(server);
    for (const session of [...server.sessions]) session.close("lost");
    await pause(10);
    const adder = el.querySelector<HTMLFormElement>(".ck-adder") as HTMLFormElement;
    const [key, value] = [...adder.querySelectorAll("input")] as [HTMLInputElement, HTMLInputElement];
    key.value = "k";
    value.value = "v";
    adder.requestSubmit();
    await pause(300);
    server.flush();
    expect(server.tree.toJSON()).toEqual({ k: "v" });
  });
});

describe("splices", () => {
  it("are the smallest, and never split a pair", () => {
    expect(spliceBetween("abc", "abc")).toBeUndefined();
    expect(spliceBetween("abc", "abXc")).toEqual({ index: 2, deleteCount: 0, insert: "X" });
    expect(spliceBetween("aaa", "aa")).toEqual({ index: 2, deleteCount: 1, insert: "" });
    expect(spliceBetween("x😀y", "x😁y")).toEqual({ index: 1, deleteCount: 2, insert: "😁" });
    expect(spliceBetween("", "ab")).toEqual({ index: 0, deleteCount: 0, insert: "ab" });
  });

  it("move positions behind them", () => {
    expect(movedIndex(5, [{ insert: "ab" }])).toBe(7);
    expect(movedIndex(5, [{ retain: 5 }, { insert: "ab" }])).toBe(5);
    expect(movedIndex(5, [{ retain: 2 }, { delete: 2 }])).toBe(3);
    expect(movedIndex(5, [{ retain: 3 }, { delete: 9 }])).toBe(3);
  });
});

it("reads numbers exactly", () => {
  expect(parseNumber("12")).toBe(12);
  expect(parseNumber("9007199254740993")).toBe(9007199254740993n);
  expect(parseNumber("-0.5e3")).toBe(-500);
  expect(parseNumber("9223372036854775808")).toBeUndefined();
  for (const bad of ["", "x", "1e999", "--1"]) expect(parseNumber(bad)).toBeUndefined();
});
