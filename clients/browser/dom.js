/** What the pages' scripts need of the document. */

/**
 * An element that the page has.
 *
 * @template {Element} T
 * @param {ParentNode} parent
 * @param {string} selector
 * @param {new () => T} kind
 * @returns {T}
 */
export function find(parent, selector, kind) {
  const found = parent.querySelector(selector);
  if (!(found instanceof kind)) throw new TypeError(`the page has no ${kind.name} ${selector}`);
  return found;
}

/**
 * Sets a text where it is another one: what does not change is not laid out again.
 *
 * @param {Element} element
 * @param {string} text
 */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * A new element.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} [name] of its class
 * @param {string} [text]
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, name = "", text = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text) element.textContent = text;
  return element;
}

/** What was remembered under a name; localStorage may be forbidden. @param {string} name */
export function remembered(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

/** @param {string} name @param {string} value */
export function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Then the choice lasts as long as the page.
  }
}

/** A secret that lasts as long as the tab; where sessionStorage is forbidden, as long as the page. */
export class Secret {
  #value = "";

  /** @param {string} name under which it is kept */
  constructor(name) {
    this.name = name;
    try {
      this.#value = sessionStorage.getItem(name) ?? "";
    } catch {
      // Then nothing was kept.
    }
  }

  /** Empty where there is none. */
  get value() {
    return this.#value;
  }

  set value(value) {
    this.#value = value;
    try {
      if (value) sessionStorage.setItem(this.name, value);
      else sessionStorage.removeItem(this.name);
    } catch {
      // Then it is gone with the page.
    }
  }
}
