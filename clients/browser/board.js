/**
 * The cards of the calls that are shown. Events only mark a card as stale; once a frame, the stale cards
 * on the screen are drawn. The order changes now and then, and not while somebody is pointing at it.
 */
import { Card } from "./card.js";
import { find } from "./dom.js";
import { palette } from "./sparkline.js";

/** @typedef {import("./calls.js").Call} Call */

/** Cards in the document; who has more calls filters or searches. */
export const MAX_CARDS = 500;
/** The order stands still so long after somebody last touched the board. */
const TOUCHED_MS = 5_000;
const FADE_MS = 1_500;

export class Board {
  /** @type {Map<Call, Card>} */
  #cards = new Map();
  /** @type {WeakMap<Element, Card>} */
  #byElement = new WeakMap();
  #size = { width: 0, height: 0 };
  #colours = palette();
  #touched = -Infinity;
  #template = find(document, "#card", HTMLTemplateElement);
  #seeing = new IntersectionObserver((entries) => this.#look(entries), { rootMargin: "200px" });
  #sizing = new ResizeObserver(() => this.#measure());

  /**
   * @param {HTMLUListElement} list
   * @param {{opened: (call: Call) => void, wanted: () => void, now: () => number}} on what to do when a
   *   call is opened, and when something is to be drawn; the server's clock
   */
  constructor(list, { opened, wanted, now }) {
    this.list = list;
    this.wanted = wanted;
    this.now = now;
    this.#sizing.observe(list);
    list.addEventListener("click", (event) => {
      const card = this.#of(event.target);
      if (card) opened(card.call);
    });
    list.addEventListener("keydown", (event) => this.#move(event));
    list.addEventListener("focusin", (event) => this.#reach(this.#of(event.target)));
    for (const type of ["pointermove", "keydown", "touchstart"]) {
      list.addEventListener(type, () => (this.#touched = performance.now()), { passive: true });
    }
  }

  /** Whether somebody is about to click a card, who would miss it if the order changed. */
  get touched() {
    return performance.now() - this.#touched < TOUCHED_MS;
  }

  /** Marks a call's card to be drawn. @param {Call} call */
  touch(call) {
    const card = this.#cards.get(call);
    if (!card) return;
    card.stale = true;
    if (card.seen) this.wanted();
  }

  /** All cards are to be drawn: the theme, the view or the size is another. */
  repaint() {
    this.#colours = palette();
    for (const card of this.#cards.values()) card.stale = true;
    this.wanted();
  }

  /** Draws what is stale and seen. */
  draw() {
    for (const card of this.#cards.values()) {
      if (card.stale && card.seen) card.draw(this.#size, this.#colours, this.now());
    }
  }

  /** Keeps the words of cards that are not on the screen true. */
  tell() {
    for (const card of this.#cards.values()) if (card.stale && !card.seen) card.tell(this.now());
  }

  /** @param {"cards" | "tiles" | "list"} view */
  set view(view) {
    this.list.dataset.view = view;
    this.#measure();
  }

  /**
   * Shows these calls, in this order.
   *
   * @param {readonly Call[]} calls
   */
  arrange(calls) {
    const shown = calls.slice(0, MAX_CARDS);
    const kept = new Set(shown);
    for (const [call, card] of this.#cards) if (!kept.has(call)) this.#remove(card);
    const focused = document.activeElement;
    let place = this.list.firstElementChild;
    for (const call of shown) {
      const { element } = this.#cards.get(call) ?? this.#add(call);
      while (place && this.#byElement.get(place)?.leaving) place = place.nextElementSibling;
      if (element === place) place = place.nextElementSibling;
      else if (element === place?.nextElementSibling) place = this.#skip(place, element);
      else this.list.insertBefore(element, place);
    }
    // A card that is moved loses the focus.
    if (focused instanceof HTMLElement && focused !== document.activeElement) {
      if (this.list.contains(focused)) focused.focus({ preventScroll: true });
    }
    if (!this.list.querySelector(".name[tabindex='0']"))
      this.#reach(this.#of(this.list.firstElementChild));
    if (!this.#size.width) this.#measure();
  }

  /**
   * Moves the one card that is in the way rather than all that follow it.
   *
   * @param {Element} place
   * @param {Element} element
   */
  #skip(place, element) {
    const next = element.nextElementSibling;
    this.list.append(place);
    return next ?? place;
  }

  /** @param {Call} call */
  #add(call) {
    const card = new Card(call, this.#template);
    this.#cards.set(call, card);
    this.#byElement.set(card.element, card);
    this.#seeing.observe(card.element);
    return card;
  }

  /** A call that is over fades, whatever else is not wanted goes. @param {Card} card */
  #remove(card) {
    this.#cards.delete(card.call);
    this.#seeing.unobserve(card.element);
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (card.call.live || !card.seen || still) {
      card.element.remove();
      return;
    }
    card.leaving = true;
    card.element.inert = true;
    const fade = card.element.animate([{ opacity: 1 }, { opacity: 0 }], FADE_MS);
    fade.onfinish = fade.oncancel = () => card.element.remove();
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #look(entries) {
    for (const { target, isIntersecting } of entries) {
      const card = this.#byElement.get(target);
      if (!card) continue;
      card.seen = isIntersecting;
      if (card.stale && card.seen) card.draw(this.#size, this.#colours, this.now());
    }
  }

  /** Measures one canvas for all, as their cards are of one size. */
  #measure() {
    const first = this.list.querySelector(".card canvas");
    if (!first) return;
    const { clientWidth: width, clientHeight: height } = first;
    if (width === this.#size.width && height === this.#size.height) return;
    this.#size = { width, height };
    this.repaint();
  }

  /** @param {EventTarget | null} target */
  #of(target) {
    const element = target instanceof Element ? target.closest(".card") : null;
    return element ? this.#byElement.get(element) : undefined;
  }

  /** Only one card is a stop of the Tab key: nobody wants 200. @param {Card | undefined} card */
  #reach(card) {
    if (!card) return;
    for (const other of this.list.querySelectorAll(".name[tabindex='0']")) {
      other.setAttribute("tabindex", "-1");
    }
    card.button.tabIndex = 0;
  }

  /** @param {KeyboardEvent} event */
  #move(event) {
    const card = this.#of(event.target);
    const to = card && this.#neighbour(card.element, event.key);
    if (!to) return;
    event.preventDefault();
    this.#of(to)?.button.focus();
  }

  /** @param {HTMLElement} from @param {string} key @returns {Element | null | undefined} */
  #neighbour(from, key) {
    const all = [...this.list.children];
    const at = all.indexOf(from);
    const across = key === "ArrowUp" || key === "ArrowDown" ? this.#columns(all) : 1;
    /** @type {Record<string, number>} */
    const places = {
      ArrowLeft: at - 1,
      ArrowRight: at + 1,
      ArrowUp: at - across,
      ArrowDown: at + across,
      Home: 0,
      End: all.length - 1,
    };
    return key in places ? all[places[key]] : null;
  }

  /** @param {Element[]} all */
  #columns(all) {
    const top = all[0].getBoundingClientRect().top;
    const next = all.findIndex((element) => element.getBoundingClientRect().top > top + 1);
    return next < 1 ? all.length : next;
  }
}
