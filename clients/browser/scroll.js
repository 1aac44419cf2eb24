/** Draws the timeline as often as the screen does, or once an event where motion is not wanted. */
import { SHOWN_S } from "./past.js";

const LAG_S = 0.7; // behind the sound, so that what slides in at the right edge is judged already
const KEY_STEP_S = 1;

export class Scroll {
  #frame = 0;
  #running = false;
  #level = 0;
  #restingS = 0;

  /**
   * @param {import("./timeline.js").Timeline} timeline
   * @param {import("./view.js").View} view
   * @param {import("./past.js").Playhead} playhead
   */
  constructor(timeline, view, playhead) {
    this.timeline = timeline;
    this.view = view;
    this.playhead = playhead;
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.still.onchange = () => this.#wake();
    matchMedia("(prefers-color-scheme: dark)").onchange = () => {
      timeline.restyle();
      this.draw();
    };
    new ResizeObserver(() => {
      timeline.resize();
      this.draw();
    }).observe(timeline.canvas);
    this.#pointing();
  }

  start() {
    this.#running = true;
    this.#wake();
  }

  /** Rests with the last event at the right edge. */
  stop() {
    this.#running = false;
    cancelAnimationFrame(this.#frame);
    this.#level = 0;
    this.view.level(0);
    this.#restingS = this.timeline.history.endS;
    this.draw();
  }

  /** An event came. */
  news() {
    if (this.still.matches) this.draw();
  }

  /** @param {Int16Array} frame whose loudness is shown */
  hear(frame) {
    let sum = 0;
    for (const value of frame) sum += value * value;
    const decibels = 10 * Math.log10(sum / frame.length / 32768 ** 2 + 1e-9);
    this.#level = Math.max(0, Math.min(1, (decibels + 60) / 50)); // -60 dB to -10 dB of full scale
    if (this.still.matches) this.view.level(this.#level);
  }

  draw() {
    const now = this.#running ? this.playhead.at(performance.now() / 1000) - LAG_S : this.#restingS;
    this.timeline.draw(now);
  }

  #wake() {
    cancelAnimationFrame(this.#frame);
    if (this.still.matches || !this.#running) return;
    const next = () => {
      this.draw();
      this.view.level(this.#level);
      this.#frame = requestAnimationFrame(next);
    };
    next();
  }

  // --- what was when, by pointer and by arrow keys ---

  #pointing() {
    const { canvas } = this.view;
    canvas.onpointermove = (event) => this.#point(this.timeline.second(event.offsetX));
    canvas.onpointerleave = canvas.onblur = () => this.#point(NaN);
    canvas.onkeydown = (event) => {
      const at = this.timeline.cursorS;
      const from = Number.isNaN(at) ? this.timeline.endS : at;
      /** @type {Record<string, number>} */
      const steps = {
        ArrowLeft: from - KEY_STEP_S,
        ArrowRight: from + KEY_STEP_S,
        PageDown: from - 10 * KEY_STEP_S,
        PageUp: from + 10 * KEY_STEP_S,
        Home: this.timeline.endS - SHOWN_S,
        End: this.timeline.endS,
        Escape: NaN,
      };
      if (!(event.key in steps)) return;
      event.preventDefault();
      this.#point(steps[event.key]);
    };
  }

  /** @param {number} second */
  #point(second) {
    const { timeline, view } = this;
    const { endS } = timeline;
    timeline.cursorS = Math.max(endS - SHOWN_S, Math.min(endS, second));
    if (Number.isNaN(second)) view.noReadout();
    else {
      const { cursorS, history } = timeline;
      const mark = history.breaks.find(({ atS }) => Math.abs(atS - cursorS) <= KEY_STEP_S / 2);
      view.readout(endS - cursorS, history.at(cursorS), mark?.text);
    }
    if (!this.#running || this.still.matches) this.draw();
  }
}
