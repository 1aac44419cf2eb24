/** What a supervisor asks for: which calls, in which order, and how they are shown. */
import { find, make, remember, remembered, write } from "./dom.js";
import { nameOf, signOf } from "./card.js";
import { EMOTIONS } from "./emotions.js";
import { SOUNDS } from "./order.js";

/** @typedef {import("./order.js").Choice} Choice */
/** @typedef {import("./order.js").Sound} Sound */

const VIEW = "emotion-dashboard-view";
const SORT = "emotion-dashboard-sort";

export class Controls {
  /** @type {Choice} */
  choice = { sort: "alert", which: "live", alerting: false, sounds: new Set(), search: "" };
  view = /** @type {"cards" | "tiles" | "list"} */ ("cards");
  #search = find(document, "#search", HTMLInputElement);
  #sort = find(document, "#sort", HTMLSelectElement);
  #alerting = find(document, "#alerting", HTMLButtonElement);
  /** @type {Map<Sound, {button: HTMLButtonElement, number: HTMLElement}>} */
  #sounds = new Map();

  /** @param {() => void} changed */
  constructor(changed) {
    this.changed = changed;
    this.#build();
    this.#recall();
    this.#search.oninput = () => this.#set({ search: this.#search.value });
    this.#sort.onchange = () => {
      remember(SORT, this.#sort.value);
      this.#set({ sort: this.#sort.value });
    };
    this.#alerting.onclick = () => this.#set({ alerting: !this.choice.alerting });
    for (const radio of radios("which")) {
      radio.onchange = () => this.#set({ which: /** @type {Choice["which"]} */ (radio.value) });
    }
    for (const radio of radios("view")) radio.onchange = () => this.#show(radio.value);
  }

  /** Every live call again. */
  reset() {
    this.#search.value = "";
    for (const radio of radios("which")) radio.checked = radio.value === "live";
    this.#set({ which: "live", alerting: false, sounds: new Set(), search: "" });
  }

  /** @param {ReturnType<typeof import("./order.js").counted>} count */
  count({ live, ended, alerting, sounds }) {
    write(find(document, "#live", HTMLElement), String(live));
    write(find(document, "#ended", HTMLElement), String(ended));
    write(find(document, "#alerts", HTMLElement), String(alerting));
    this.#alerting.classList.toggle("some", alerting > 0);
    for (const [sound, { button, number }] of this.#sounds) {
      const calls = sounds.get(sound) ?? 0;
      write(number, String(calls));
      button.classList.toggle("none", !calls);
      button.style.setProperty("--part", String(live ? calls / live : 0));
    }
  }

  #build() {
    const group = find(document, "#sounds", HTMLElement);
    for (const sound of SOUNDS) {
      const button = make("button", "sound");
      button.type = "button";
      button.dataset.sounds = sound;
      const sign = make("span", "sign", signOf(sound));
      sign.setAttribute("aria-hidden", "true");
      const number = make("b", "", "0");
      button.append(sign, make("span", "", nameOf(sound)), " ", number);
      button.onclick = () => this.#toggle(sound);
      group.append(button);
      this.#sounds.set(sound, { button, number });
    }
    const emotions = EMOTIONS.map((label) => {
      const option = make("option", "", `Most ${label}`);
      option.value = label;
      return option;
    });
    find(document, "#sort-emotions", HTMLOptGroupElement).append(...emotions);
    this.#press();
  }

  #recall() {
    const sort = remembered(SORT);
    if ([...this.#sort.options].some(({ value }) => value === sort)) {
      this.choice.sort = this.#sort.value = String(sort);
    }
    const radio = radios("view").find(({ value }) => value === remembered(VIEW));
    if (!radio) return;
    radio.checked = true;
    this.view = /** @type {typeof this.view} */ (radio.value);
  }

  /** @param {string} view */
  #show(view) {
    remember(VIEW, view);
    this.view = /** @type {typeof this.view} */ (view);
    this.changed();
  }

  /** @param {Sound} sound */
  #toggle(sound) {
    const sounds = new Set(this.choice.sounds);
    if (!sounds.delete(sound)) sounds.add(sound);
    this.#set({ sounds });
  }

  /** @param {Partial<Choice>} part */
  #set(part) {
    this.choice = { ...this.choice, ...part };
    this.#press();
    this.changed();
  }

  #press() {
    this.#alerting.setAttribute("aria-pressed", String(this.choice.alerting));
    for (const [sound, { button }] of this.#sounds) {
      button.setAttribute("aria-pressed", String(this.choice.sounds.has(sound)));
    }
  }
}

/** @param {string} name */
function radios(name) {
  return /** @type {HTMLInputElement[]} */ ([...document.querySelectorAll(`input[name=${name}]`)]);
}
