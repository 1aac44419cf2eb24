/** The page's elements, and what is said in them; it decides nothing. */
import { find, write } from "./dom.js";
import { EMOTIONS, SIGNS } from "./emotions.js";
import { percent } from "./format.js";

/** @typedef {import("./past.js").Moment} Moment */
/** @typedef {import("./troubles.js").Trouble} Trouble */

const WAYS = { microphone: "Try again", retry: "Try now", token: "" };

export class View {
  main = find(document, "#main", HTMLElement);
  microphone = find(document, "#microphone", HTMLButtonElement);
  stop = find(document, "#stop", HTMLButtonElement);
  file = find(document, "#file", HTMLInputElement);
  save = find(document, "#save", HTMLButtonElement);
  way = find(document, "#way", HTMLButtonElement);
  dismiss = find(document, "#dismiss", HTMLButtonElement);
  tokenForm = find(document, "#token-form", HTMLFormElement);
  token = find(document, "#token", HTMLInputElement);
  canvas = find(document, "#timeline", HTMLCanvasElement);
  drop = find(document, "#drop", HTMLElement);
  #connection = find(document, "#connection", HTMLElement);
  #connectionText = find(document, "#connection-text", HTMLElement);
  #trouble = find(document, "#trouble", HTMLElement);
  #sign = find(document, "#sign", HTMLElement);
  #lead = find(document, "#lead", HTMLElement);
  #emotion = find(document, "#emotion", HTMLElement);
  #sure = find(document, "#sure", HTMLElement);
  #choice = find(document, "#choice", HTMLElement);
  #source = find(document, "#source", HTMLElement);
  #sourceText = find(document, "#source-text", HTMLElement);
  #level = find(document, "#level", HTMLElement);
  #readout = find(document, "#readout", HTMLElement);
  #forgotten = find(document, "#forgotten", HTMLElement);
  #announcement = find(document, "#announcement", HTMLElement);
  #about = find(document, "#about", HTMLElement);
  /** @type {{item: HTMLElement, share: HTMLElement}[]} */
  #bars = [];
  #held = false; // whether the focus is on what is about to go

  constructor() {
    const list = find(document, "#bars", HTMLElement);
    for (const name of EMOTIONS) {
      const item = document.createElement("li");
      item.dataset.emotion = name;
      const part = (/** @type {string} */ kind, text = "") => {
        const span = document.createElement("span");
        span.className = kind;
        span.textContent = text;
        item.append(span);
        return span;
      };
      part("letter", SIGNS[name]).ariaHidden = "true";
      part("label", name);
      part("bar").ariaHidden = "true";
      this.#bars.push({ item, share: part("share") });
      list.append(item);
    }
    find(document, "#server", HTMLElement).textContent = location.host;
    this.forget();
  }

  // --- what is heard ---

  /** @param {Moment} moment */
  judged({ label, probabilities }) {
    if (!label || !probabilities) return this.word("none", "hears", "silence", "nobody speaks");
    const share = percent(probabilities[EMOTIONS.indexOf(label)]);
    this.word(label, sounds(label), label, share);
    probabilities.forEach((p, i) => this.#share(i, p));
    document.title = `${label} ${share} · emotion-monitor`;
  }

  /**
   * @param {string} emotion
   * @param {string} lead
   * @param {string} word
   * @param {string} sure
   */
  word(emotion, lead, word, sure) {
    const known = EMOTIONS.find((name) => name === emotion);
    this.main.dataset.emotion = emotion;
    this.#sign.textContent = known ? SIGNS[known] : "";
    this.#lead.textContent = lead;
    this.#emotion.textContent = word;
    this.#sure.textContent = sure;
    if (known) return;
    this.#bars.forEach((_, i) => this.#share(i, null));
    document.title = "emotion-monitor";
  }

  forget() {
    this.word("none", "How does it sound?", "Speak", "and see the estimate move while you do.");
  }

  /** What is shown is not now any more: nobody listens, or the server cannot be reached. */
  past() {
    if (this.main.dataset.emotion !== "none") this.#lead.textContent = "last sounded";
    document.title = "emotion-monitor";
  }

  /**
   * @param {number} index
   * @param {number | null} p
   */
  #share(index, p) {
    const { item, share } = this.#bars[index];
    item.style.setProperty("--p", String(p ?? 0));
    share.textContent = p === null ? "–" : percent(p);
  }

  /** @param {number} loudness 0 to 1 */
  level(loudness) {
    this.#level.style.setProperty("--level", String(loudness));
  }

  /** @param {string} text */
  announce(text) {
    this.#announcement.textContent = text;
  }

  /** There is something to save. @param {string} shortness what the file will not have */
  saves(shortness) {
    this.save.disabled = false;
    this.#forgotten.hidden = !shortness;
    write(this.#forgotten, shortness);
  }

  // --- how it is going ---

  /**
   * @param {"idle" | "busy" | "running"} phase
   * @param {string} [source] what is being heard
   */
  phase(phase, source = "") {
    document.body.dataset.phase = phase;
    // Who pressed a button by keyboard finds its successor under the focus, not the page's beginning.
    this.#held ||= !!document.activeElement?.closest(".controls, .trouble");
    const running = phase === "running";
    this.microphone.hidden = running;
    this.stop.hidden = !running;
    this.microphone.disabled = phase === "busy";
    this.#choice.hidden = running;
    this.#source.hidden = !source;
    this.#sourceText.textContent = source;
    if (phase === "busy" || !this.#held) return;
    this.#held = false;
    (running ? this.stop : this.microphone).focus();
  }

  /**
   * @param {"idle" | "busy" | "open" | "waiting"} state
   * @param {string} text
   */
  connection(state, text) {
    this.#connection.dataset.state = state;
    this.#connectionText.textContent = text;
  }

  /** @param {Trouble | null} trouble */
  trouble(trouble) {
    this.#trouble.hidden = !trouble;
    this.#trouble.dataset.code = trouble?.code ?? "";
    if (!trouble) return;
    find(document, "#trouble-title", HTMLElement).textContent = trouble.title;
    find(document, "#trouble-text", HTMLElement).textContent = trouble.text;
    this.tokenForm.hidden = trouble.way !== "token";
    this.way.hidden = !trouble.way || trouble.way === "token";
    this.way.textContent = trouble.way ? WAYS[trouble.way] : "";
    if (trouble.way === "token") this.token.focus();
  }

  /**
   * What the timeline's cursor points at.
   *
   * @param {number} agoS
   * @param {Moment | undefined} moment
   * @param {string} [mark] what is marked there
   */
  readout(agoS, moment, mark) {
    const text = `${Math.round(agoS)} s ago: ${mark ? `${mark}, ` : ""}${described(moment)}`;
    this.#readout.textContent = text;
    this.canvas.setAttribute("aria-valuenow", String(-Math.round(agoS)));
    this.canvas.setAttribute("aria-valuetext", text);
  }

  noReadout() {
    this.#readout.textContent = "";
  }

  /** @param {Record<string, string>} facts */
  about(facts) {
    this.#about.replaceChildren(
      ...Object.entries(facts).flatMap(([name, value]) => {
        const [term, detail] = [document.createElement("dt"), document.createElement("dd")];
        term.textContent = name;
        detail.textContent = value;
        return [term, detail];
      }),
    );
  }
}

/**
 * What leads to an emotion's name in a sentence.
 *
 * @param {import("./emotions.js").Emotion} label
 */
export function sounds(label) {
  return label === "disgust" ? "sounds like" : "sounds"; // the one noun among them
}

/** @param {Moment | undefined} moment */
function described(moment) {
  if (!moment) return "nothing";
  const { probabilities } = moment;
  if (!probabilities) return "silence";
  return EMOTIONS.map((name, i) => ({ name, p: probabilities[i] }))
    .sort((a, b) => b.p - a.p)
    .slice(0, 3)
    .map(({ name, p }) => `${name} ${percent(p)}`)
    .join(", ");
}
