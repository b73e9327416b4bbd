/** The parts of a page. Every text becomes a text node, never HTML: names and messages are written by others. */

/** Returns the element of the page with this id. Throws if the page has no such element of this kind. */
export function byId<E extends HTMLElement>(id: string, kind: new () => E): E {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new Error(`the page has no ${kind.name} with the id ${id}`);
}

/** Returns the element of a part of the page that a selector finds. Throws if the part has no such element of this kind. */
export function find<E extends HTMLElement>(
  root: ParentNode,
  selector: string,
  kind: new () => E,
): E {
  const found = root.querySelector(selector);
  if (found instanceof kind) return found;
  throw new Error(`the page has no ${kind.name} at ${selector}`);
}

/** Makes an element with attributes, and with texts and other elements in it. */
export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Readonly<Record<string, string>> = {},
  ...children: readonly (string | Node)[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Calls `run` when a form is submitted, and has the browser send nothing. */
export function onSubmit(form: HTMLFormElement, run: () => void): void {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
}

/** `10,000` */
export function grouped(count: number): string {
  return count.toLocaleString("en-US");
}
