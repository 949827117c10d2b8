/** Views of live containers: maps and lists as editable rows, texts as text areas, nested to any depth. */

import { EmptyText, LiveList, LiveMap, LiveText, type LiveValue, type Writable } from "../live.ts";
import { keyOf } from "../ids.ts";
import { isScalar } from "../values.ts";
import { Kind } from "../wire/messages.ts";
import { arrange, button, h, replaceText } from "./dom.ts";
import { editorKind, scalarEditor, parseNumber, type Editor } from "./editors.ts";
import { movedIndex, spliceBetween } from "./splice.ts";
import type { TextStep } from "../crdt/text.ts";

/** What all views of one widget share. */
export interface ViewContext {
  isReadOnly(): boolean;
  /** Run an edit; show the person why when it fails. */
  attempt(edit: () => void): void;
}

export interface ContainerView {
  readonly element: HTMLElement;
  /** Bring it up to date with the live value. */
  update(): void;
  destroy(): void;
}

/** Rows shown at first; more on request, so that a list of 100,000 does not stall the page. */
const ROWS_SHOWN = 200;
/** Nested containers are open down to here. */
const OPEN_DEPTH = 2;

export function containerView(live: LiveMap | LiveList | LiveText, context: ViewContext, depth = 0): ContainerView {
  if (live instanceof LiveText || live.kind === Kind.TEXT) return new TextView(live as LiveText, context);
  return new RowsView(live as LiveMap | LiveList, context, depth);
}

/** One value: an editor, or a nested container behind a disclosure. */
class Cell {
  readonly element: HTMLElement;
  private readonly context: ViewContext;
  private readonly depth: number;
  private readonly write: (value: Writable) => void;
  private label = "";
  private signature = "";
  private editor: Editor | undefined;
  private nested: ContainerView | undefined;
  private summary: HTMLElement | undefined;

  constructor(id: string, context: ViewContext, depth: number, write: (value: Writable) => void) {
    this.element = h("div", { class: "ck-cell", "data-cell": id });
    this.context = context;
    this.depth = depth;
    this.write = write;
  }

  update(value: LiveValue, label: string): void {
    const signature = isScalar(value) ? editorKind(value) : keyOf(value.id);
    this.label = label;
    if (signature !== this.signature) this.rebuild(value);
    this.signature = signature;
    if (isScalar(value)) this.editor?.update(value);
    else {
      if (this.summary) this.summary.textContent = summaryOf(value);
      this.nested?.update();
    }
  }

  destroy(): void {
    this.nested?.destroy();
  }

  private rebuild(value: LiveValue): void {
    this.destroy();
    this.editor = this.nested = this.summary = undefined;
    if (isScalar(value)) {
      const { context } = this;
      const commit = (written: Writable): void => context.attempt(() => this.write(written));
      this.editor = scalarEditor(value, { label: this.label, isReadOnly: () => context.isReadOnly(), commit });
      this.element.replaceChildren(this.editor.element);
      return;
    }
    this.nested = containerView(value, this.context, this.depth + 1);
    this.summary = h("summary", {}, summaryOf(value));
    const isOpen = value instanceof LiveText || this.depth === 0 || (this.depth < OPEN_DEPTH && sizeOf(value) > 0);
    this.element.replaceChildren(h("details", { open: isOpen, class: "ck-nested" }, this.summary, this.nested.element));
  }
}

const sizeOf = (value: LiveMap | LiveList): number => (value instanceof LiveList ? value.length : value.size);

function summaryOf(value: LiveMap | LiveList | LiveText): string {
  if (value.kind === Kind.TEXT) return `text, ${(value as LiveText).length} characters`;
  if (value.kind === Kind.LIST) return count((value as LiveList).length, "item");
  return nameOf(value as LiveMap) ?? count((value as LiveMap).size, "field");
}

/** Fields by one of which a record is known, if it has one. */
const NAME_KEYS: readonly string[] = ["title", "name", "label", "text", "id"];

function nameOf(map: LiveMap): string | undefined {
  for (const key of NAME_KEYS) {
    const value = map.get(key);
    if (typeof value === "string" && value !== "") return value.length > 80 ? `${value.slice(0, 79)}…` : value;
  }
  return undefined;
}

const count = (n: number, word: string): string => `${n} ${word}${n === 1 ? "" : "s"}`;

interface Row {
  readonly element: HTMLElement;
  readonly head: HTMLElement;
  readonly cell: Cell;
  readonly buttons: HTMLButtonElement[];
}

/** A map, an object or a list. */
class RowsView implements ContainerView {
  readonly element: HTMLElement;
  private readonly live: LiveMap | LiveList;
  private readonly context: ViewContext;
  private readonly depth: number;
  private readonly rows = new Map<string, Row>();
  private readonly body = h("ul", { class: "ck-rows", role: "list" });
  private readonly more: HTMLButtonElement;
  private readonly adder: Adder;
  private shownMax = ROWS_SHOWN;

  constructor(live: LiveMap | LiveList, context: ViewContext, depth: number) {
    this.live = live;
    this.context = context;
    this.depth = depth;
    this.more = h("button", { type: "button", class: "ck-more", hidden: true, onclick: () => this.showMore() });
    this.adder = new Adder(this.isList, depth > 0, context, (key, value) => {
      if (live.kind === Kind.LIST) (live as LiveList).push(value);
      else (live as LiveMap).set(key, value);
    });
    const kind = this.isList ? "ck-list" : "ck-map";
    this.element = h("div", { class: `ck-container ${kind}` }, this.body, this.more, this.adder.element);
  }

  private get isList(): boolean {
    return this.live.kind === Kind.LIST;
  }

  update(): void {
    const wanted: Element[] = [];
    const seen = new Set<string>();
    const total = sizeOf(this.live);
    for (const { id, label, value } of this.isList ? listRows(this.live as LiveList) : mapRows(this.live as LiveMap)) {
      if (wanted.length === this.shownMax) break;
      const row = this.rows.get(id) ?? this.newRow(id, value.write);
      row.head.textContent = label;
      row.cell.update(value.read, `${this.isList ? "item " : ""}${label}`);
      for (const each of row.buttons) each.disabled = this.context.isReadOnly();
      wanted.push(row.element);
      seen.add(id);
    }
    for (const [id, row] of this.rows) {
      if (seen.has(id)) continue;
      row.cell.destroy();
      this.rows.delete(id);
    }
    arrange(this.body, wanted);
    this.more.hidden = total <= this.shownMax;
    this.more.textContent = `Show more of ${total}`;
    this.adder.update();
  }

  destroy(): void {
    for (const { cell } of this.rows.values()) cell.destroy();
  }

  private showMore(): void {
    this.shownMax *= 5;
    this.update();
  }

  private newRow(id: string, write: RowValue["write"]): Row {
    const head = h("span", { class: "ck-head" });
    const cell = new Cell(`${keyOf(this.live.id)}/${id}`, this.context, this.depth, write);
    const buttons = this.isList ? this.listButtons(id) : [this.deleteButton(() => (this.live as LiveMap).delete(id))];
    const element = h("li", { class: "ck-row" }, head, cell.element, h("span", { class: "ck-buttons" }, ...buttons));
    const row = { element, head, cell, buttons };
    this.rows.set(id, row);
    return row;
  }

  private deleteButton(remove: () => void): HTMLButtonElement {
    return button("×", "Delete", () => this.context.attempt(remove));
  }

  private listButtons(id: string): HTMLButtonElement[] {
    const list = this.live as LiveList;
    const element = elementOf(id);
    const move = (step: number): void =>
      this.context.attempt(() => {
        const index = list.indexOf(element);
        const to = index + step;
        if (index >= 0 && to >= 0 && to < list.length) list.moveElement(element, to);
      });
    return [
      button("↑", "Move up", () => move(-1)),
      button("↓", "Move down", () => move(1)),
      this.deleteButton(() => list.deleteElement(element)),
    ];
  }
}

interface RowValue {
  readonly read: LiveValue;
  write(value: Writable): void;
}

interface RowData {
  /** The key of a map's row, the element of a list's. */
  readonly id: string;
  readonly label: string;
  readonly value: RowValue;
}

function* mapRows(map: LiveMap): Generator<RowData> {
  // Its name first, then what has one line, or the lists in a record would tear its fields apart.
  const rank = (key: string, value: LiveValue): number => (isScalar(value) ? (NAME_KEYS.includes(key) ? 0 : 1) : 2);
  for (const [key, read] of [...map.entries()].sort(([a, one], [b, other]) => rank(a, one) - rank(b, other))) {
    yield { id: key, label: key, value: { read, write: (value) => map.set(key, value) } };
  }
}

function* listRows(list: LiveList): Generator<RowData> {
  let index = 0;
  for (const { element, value } of list.items()) {
    yield { id: keyOf(element), label: String(index++), value: { read: value, write: (written) => list.setElement(element, written) } };
  }
}

function elementOf(id: string): { site: number; counter: number } {
  const [site, counter] = id.split(".").map(Number);
  return { site: site as number, counter: counter as number };
}

const TYPES: readonly (readonly [type: string, name: string])[] = [
  ["text", "text"],
  ["number", "number"],
  ["boolean", "yes / no"],
  ["list", "list"],
  ["map", "map"],
  ["note", "shared text"],
];

/** The line under a container that adds to it. */
class Adder {
  readonly element: HTMLElement;
  private readonly form: HTMLFormElement;
  private readonly key: HTMLInputElement;
  private readonly value: HTMLInputElement;
  private readonly type: HTMLSelectElement;
  private readonly context: ViewContext;
  private readonly opener: HTMLButtonElement;
  private isOpen: boolean;

  constructor(isList: boolean, isNested: boolean, context: ViewContext, add: (key: string, value: Writable) => void) {
    this.context = context;
    // Nested ones open on demand: a board of fifty records would else be mostly empty fields.
    this.isOpen = !isNested;
    this.opener = h("button", { type: "button", class: "ck-more", onclick: () => this.open(isList) }, isList ? "+ item" : "+ field");
    this.key = h("input", { type: "text", class: "ck-field ck-key", placeholder: "name", "aria-label": "Name of the new field", autocomplete: "off", spellcheck: "false" });
    this.value = h("input", { type: "text", class: "ck-field", placeholder: isList ? "add an item" : "value", "aria-label": isList ? "New item" : "Value of the new field", autocomplete: "off", spellcheck: "false" });
    const options = TYPES.map(([type, name]) => h("option", { value: type }, name));
    this.type = h("select", { class: "ck-type", "aria-label": "Type of the new value", onchange: () => this.update() }, ...options);
    const onsubmit = (event: SubmitEvent): void => {
      event.preventDefault();
      context.attempt(() => this.submit(isList, add));
    };
    const onkeydown = (event: KeyboardEvent): void => {
      if (event.key === "Escape" && isNested) this.shut();
      if (event.key !== "Enter" || event.isComposing || !(event.target instanceof HTMLInputElement)) return;
      // Browsers submit on Enter by themselves, unless somebody cancels line breaks, as JupyterLab does inside cells.
      event.preventDefault();
      this.form.requestSubmit();
    };
    this.form = h("form", { class: "ck-adder", onsubmit, onkeydown }, ...(isList ? [] : [this.key]), this.value, this.type, h("button", { type: "submit", class: "ck-button ck-add", title: "Add", "aria-label": "Add" }, "+"));
    this.element = h("div", {}, this.opener, this.form);
  }

  private open(isList: boolean): void {
    this.isOpen = true;
    this.update();
    (isList ? this.value : this.key).focus();
  }

  private shut(): void {
    this.isOpen = false;
    this.update();
    this.opener.focus();
  }

  update(): void {
    this.element.hidden = this.context.isReadOnly();
    this.form.hidden = !this.isOpen;
    this.opener.hidden = this.isOpen;
    this.value.disabled = !["text", "number"].includes(this.type.value);
  }

  private submit(isList: boolean, add: (key: string, value: Writable) => void): void {
    const key = this.key.value.trim();
    if (!isList && key === "") {
      this.key.focus();
      return;
    }
    add(key, this.newValue());
    this.key.value = this.value.value = "";
    (isList ? this.value : this.key).focus();
  }

  private newValue(): Writable {
    const text = this.value.value;
    switch (this.type.value) {
      case "number": {
        const number = text.trim() === "" ? 0 : parseNumber(text);
        if (number === undefined) throw new RangeError(`“${text}” is no number`);
        return number;
      }
      case "boolean":
        return false;
      case "list":
        return [];
      case "map":
        return {};
      case "note":
        return new EmptyText();
      default:
        return text;
    }
  }
}

/** A live text in a text area; what is typed goes out as the smallest splice, and others' edits keep the caret. */
class TextView implements ContainerView {
  readonly element: HTMLElement;
  private readonly live: LiveText;
  private readonly context: ViewContext;
  private readonly area: HTMLTextAreaElement;
  private readonly stop: () => void;
  /** What the area showed when it was last in step with the live text. */
  private shown = "";
  /** Steps that others took while a composition is under way, which must not be disturbed. */
  private waiting: (readonly TextStep[])[] = [];
  private isComposing = false;

  constructor(live: LiveText, context: ViewContext) {
    this.live = live;
    this.context = context;
    this.area = h("textarea", {
      class: "ck-text",
      rows: "4",
      "aria-label": "Shared text",
      // JupyterLab forbids line breaks inside cells, by a listener that it puts here at each key: ours was here first.
      onbeforeinput: (event: InputEvent) => event.inputType === "insertLineBreak" && event.stopImmediatePropagation(),
      oninput: () => this.isComposing || this.onInput(),
      oncompositionstart: () => void (this.isComposing = true),
      oncompositionend: () => {
        this.isComposing = false;
        this.onInput();
      },
    });
    const cell = h("div", { class: "ck-cell", "data-cell": `${keyOf(live.id)}/text` }, this.area);
    this.element = h("div", { class: "ck-container" }, cell);
    this.stop = live.observe((event) => {
      if (event?.isRemote && event.change.steps) this.onRemote(event.change.steps);
    });
  }

  update(): void {
    // A text area turns \r\n into \n, which would shift every position: rather not edited than spoiled.
    this.area.readOnly = this.context.isReadOnly() || String(this.live).includes("\r");
    if (!this.isComposing) this.show((index) => index);
  }

  destroy(): void {
    this.stop();
  }

  private onInput(): void {
    const made = spliceBetween(this.shown, this.area.value);
    this.shown = this.area.value;
    const steps = this.waiting.flat();
    const place = (index: number): number => this.waiting.reduce((moved, each) => movedIndex(moved, each), index);
    if (made) {
      const start = place(made.index);
      const end = place(made.index + made.deleteCount);
      this.context.attempt(() => this.live.splice(start, end - start, made.insert));
    }
    this.waiting = [];
    this.show(steps.length > 0 ? place : (index) => index);
  }

  private onRemote(steps: readonly TextStep[]): void {
    if (this.isComposing) this.waiting.push(steps);
    else this.show((index) => movedIndex(index, steps));
  }

  private show(place: (index: number) => number): void {
    const text = String(this.live);
    replaceText(this.area, text, (index) => Math.min(place(index), text.length));
    this.shown = this.area.value;
  }
}
