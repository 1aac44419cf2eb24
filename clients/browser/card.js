/** One call on the board. */
import { QUIET_S } from "./calls.js";
import { find, write } from "./dom.js";
import { EMOTIONS, SIGNS } from "./emotions.js";
import { clock, percent } from "./format.js";
import { drawSparkline, inWords } from "./sparkline.js";

/** @typedef {import("./calls.js").Call} Call */
/** @typedef {import("./order.js").Sound} Sound */
/** @typedef {import("./sparkline.js").Palette} Palette */

let count = 0;

/** What stands for what a call sounds like. @param {Sound | null} sounds */
export function signOf(sounds) {
  return sounds === null ? "·" : sounds === "silent" ? "–" : SIGNS[sounds];
}

/** @param {Sound | null} sounds */
export function nameOf(sounds) {
  return sounds ?? "listening";
}

export class Card {
  /** Whether the call changed since this was drawn. */
  stale = true;
  /** Whether it is on the screen, or nearly. */
  seen = false;
  leaving = false;

  /** @param {Call} call @param {HTMLTemplateElement} template */
  constructor(call, template) {
    this.call = call;
    const copy = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
    this.element = find(copy, ".card", HTMLLIElement);
    this.button = find(copy, ".name", HTMLButtonElement);
    this.canvas = find(copy, "canvas", HTMLCanvasElement);
    this.time = find(copy, ".time", HTMLElement);
    this.sign = find(copy, ".sign", HTMLElement);
    this.feel = find(copy, ".feel", HTMLElement);
    this.share = find(copy, ".share", HTMLElement);
    this.note = find(copy, ".note", HTMLElement);
    this.button.textContent = call.stream;
    this.button.title = call.stream;
    this.canvas.setAttribute("aria-label", "Last two minutes");
    this.#describe();
  }

  /** The button's name is the stream's; what follows is read as its description. */
  #describe() {
    const parts = [this.feel, this.share, this.note, this.time];
    for (const part of parts) part.id = `part-${count++}`;
    this.button.setAttribute("aria-describedby", parts.map((part) => part.id).join(" "));
  }

  /**
   * Shows what the call is now. Writes, and reads nothing: no layout comes in between.
   *
   * @param {{width: number, height: number}} size of the canvas
   * @param {Palette} colours
   * @param {number} now by the server's clock
   */
  draw(size, colours, now) {
    this.stale = false;
    this.tell(now);
    const track = this.call.track;
    if (!track || !size.width) return;
    drawSparkline(this.canvas, track.recent.stretches, track.end_s, size, colours);
    const words = inWords(track.recent.stretches, track.end_s);
    this.canvas.setAttribute("aria-label", `Last two minutes: ${words}`);
  }

  /** Shows the words alone: they are read where nobody looks, too. @param {number} now */
  tell(now) {
    const { call } = this;
    const sounds = call.sounds;
    this.#mark("sounds", sounds ?? "");
    this.#mark("state", call.state);
    this.#mark("alert", call.alert ? "yes" : "");
    write(this.sign, signOf(sounds));
    write(this.feel, nameOf(sounds));
    const track = call.track;
    write(this.share, sounds && sounds !== "silent" && track ? percent(track.share()) : "");
    write(this.time, clock(call.duration_s));
    write(this.note, this.#noted(now));
  }

  /** @param {string} name @param {string} value */
  #mark(name, value) {
    if (this.element.dataset[name] !== value) this.element.dataset[name] = value;
  }

  /** @param {number} now */
  #noted(now) {
    const { call } = this;
    if (call.state === "ended") return "ended";
    if (call.state === "lost") return "over: nothing heard of it";
    const alert = call.alert;
    if (alert) return `▲ ${alert.message}${alert.doubtful ? " (before a gap: may be over)" : ""}`;
    const quiet = now - call.heard_at;
    if (quiet > QUIET_S) return `no word for ${clock(quiet)}`;
    return call.sounds === "silent" ? lastHeard(call) : second(call);
  }
}

/** @param {Call} call */
function lastHeard({ track }) {
  return track?.label ? `for ${clock(track.silent_s)}, ${track.label} before` : "";
}

/** The judgement is one of several: what it might be, too. @param {Call} call */
function second({ track }) {
  if (!track?.label) return "";
  const others = EMOTIONS.filter((label) => label !== track.label);
  const next = others.reduce((a, b) => (track.share(b) > track.share(a) ? b : a));
  return `then ${next} ${percent(track.share(next))}`;
}
