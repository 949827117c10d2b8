/** Editors of scalar values, in place: a remote change is shown at once, but never over what a person is typing. */

import type { Scalar } from "../values.ts";
import { h, replaceText } from "./dom.ts";

/** What an editor needs of its surroundings. */
export interface EditorContext {
  readonly label: string;
  isReadOnly(): boolean;
  /** Write the value; failures are shown to the person. */
  commit(value: Scalar): void;
}

export interface Editor {
  readonly element: HTMLElement;
  update(value: Scalar): void;
}

/** Which editor a value takes: a change of it makes a new editor. */
export function editorKind(value: Scalar): string {
  if (value === null) return "null";
  if (value instanceof Uint8Array) return "bytes";
  return typeof value === "bigint" ? "number" : typeof value;
}

export function scalarEditor(value: Scalar, context: EditorContext): Editor {
  switch (editorKind(value)) {
    case "boolean":
      return checkbox(context);
    case "number":
      return field(context, "decimal", parseNumber, "A number, such as 12 or -0.5");
    case "string":
      return field(context, "text", (text) => text, "");
    default:
      return label(context);
  }
}

/** The number that was typed, undefined when it is none. Whole numbers over 53 bits stay exact. */
export function parseNumber(text: string): number | bigint | undefined {
  const digits = text.trim();
  if (/^[+-]?\d+$/.test(digits)) {
    const big = BigInt(digits.replace("+", ""));
    if (BigInt.asIntN(64, big) !== big) return undefined;
    return Number.isSafeInteger(Number(big)) ? Number(big) : big;
  }
  const value = digits === "" ? Number.NaN : Number(digits);
  return Number.isFinite(value) ? value : undefined;
}

function checkbox(context: EditorContext): Editor {
  const element = h("input", { type: "checkbox", "aria-label": context.label, onchange: () => context.commit(element.checked) });
  return {
    element,
    update(value) {
      element.checked = value === true;
      element.disabled = context.isReadOnly();
    },
  };
}

function label(context: EditorContext): Editor {
  const element = h("span", { class: "ck-fixed", "aria-label": context.label });
  return {
    element,
    update: (value) => void (element.textContent = value instanceof Uint8Array ? `${value.length} bytes` : "null"),
  };
}

function field(context: EditorContext, inputMode: string, parse: (text: string) => Scalar | undefined, hint: string): Editor {
  let shown = "";
  let isMultiline = false;
  const commit = (): void => {
    const value = parse(element.value);
    const isBad = value === undefined;
    element.setAttribute("aria-invalid", String(isBad));
    element.title = isBad ? hint : "";
    if (isBad || element.value === shown) return;
    shown = element.value;
    context.commit(value);
  };
  const onkeydown = (event: KeyboardEvent): void => {
    if (event.key === "Enter" && !event.isComposing) commit();
    if (event.key === "Escape") {
      element.value = shown;
      element.setAttribute("aria-invalid", "false");
    }
  };
  const element = h("input", { type: "text", inputmode: inputMode, class: "ck-field", autocomplete: "off", spellcheck: "false", "aria-label": context.label, onchange: commit, onkeydown });
  return {
    element,
    update(value) {
      const text = String(value);
      const hasDraft = document.activeElement === element && element.value !== shown;
      isMultiline = /[\r\n]/.test(text);
      // An input drops line breaks: rather not edited than spoiled.
      element.readOnly = context.isReadOnly() || isMultiline;
      element.title = isMultiline ? "Text of several lines is edited by program" : "";
      element.classList.toggle("ck-overtaken", hasDraft && text !== shown);
      if (hasDraft) return;
      shown = text.replace(/[\r\n]+/g, isMultiline ? " ⏎ " : "");
      replaceText(element, shown, (index) => Math.min(index, shown.length));
    },
  };
}
