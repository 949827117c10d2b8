/** Elements, made without ever reading text as HTML. */

type Attributes = Record<string, string | boolean | ((event: never) => void)>;

/** What can have the focus in a view. */
const FOCUSABLE = new Set(["button", "input", "select", "summary", "textarea"]);

/** An element with attributes, listeners (`onclick: ...`) and children; strings become text nodes. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: (Node | string)[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  // JupyterLab's one-letter shortcuts are for whatever has the focus, unless that itself says no; a parent is too late.
  if (FOCUSABLE.has(tag)) element.setAttribute("data-lm-suppress-shortcuts", "true");
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value as EventListener);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** A small button whose face is a sign; `label` is what it is called. */
export function button(sign: string, label: string, onclick: () => void): HTMLButtonElement {
  return h("button", { type: "button", class: "ck-button", title: label, "aria-label": label, onclick }, sign);
}

/** Put `wanted` under `parent` in this order, moving as few as possible, so that focus and selection stay. */
export function arrange(parent: Element, wanted: readonly Element[]): void {
  const keep = new Set<Element>(wanted);
  for (const child of [...parent.children]) if (!keep.has(child)) child.remove();
  const active = document.activeElement;
  let next: Element | null = parent.firstElementChild;
  for (let i = 0; i < wanted.length; i++) {
    const child = wanted[i] as Element;
    if (child === next) {
      next = next.nextElementSibling;
    } else if (next !== null && child.contains(active)) {
      // Moving the focused one would blur it: move what stands before it instead.
      while (next !== null && next !== child) {
        const after: Element | null = next.nextElementSibling;
        parent.append(next);
        next = after;
      }
      next = child.nextElementSibling;
    } else {
      parent.insertBefore(child, next);
    }
  }
}

/**
 * Show `value` in a text control, its caret moved by `place`; also when the value is there already, since what came in
 * one message is told change by change, and the first of them brings the text of all.
 */
export function replaceText(control: HTMLInputElement | HTMLTextAreaElement, value: string, place: (index: number) => number): void {
  const { selectionStart, selectionEnd, selectionDirection, scrollTop } = control;
  const isShown = control.value === value;
  if (!isShown) control.value = value;
  if (document.activeElement === control && selectionStart !== null && selectionEnd !== null) {
    const [start, end] = [place(selectionStart), place(selectionEnd)];
    if (!isShown || start !== selectionStart || end !== selectionEnd) {
      control.setSelectionRange(start, end, selectionDirection ?? undefined);
    }
  }
  if (!isShown) control.scrollTop = scrollTop;
}
