/**
 * The last two minutes as a stacked picture on a canvas: the eight smoothed probabilities over time,
 * silence as a hatched floor, breaks as lines, and above it in words what dominated when.
 */
import { EMOTIONS, SIGNS } from "./emotions.js";
import { SHOWN_S } from "./past.js";

/** @typedef {import("./past.js").Moment} Moment */
/** @typedef {{from: number, to: number, label: import("./emotions.js").Emotion}} Reign */

const RIBBON = 30; // css pixels above the stack, for words
const AXIS = 22; // below it, for times
const BAND = 5; // of colour under the words

export class Timeline {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("./past.js").History} history
   */
  constructor(canvas, history) {
    this.canvas = canvas;
    this.history = history;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: true }));
    this.width = this.height = 0;
    this.size = 12; // of words, css pixels
    this.endS = 0;
    this.cursorS = NaN; // which second is pointed at
    /** @type {string[]} */
    this.colours = [];
    this.ink = this.soft = this.line = this.ground = this.font = "";
    /** @type {CanvasPattern | string} */
    this.hatch = "";
    this.restyle();
    this.resize();
  }

  /** Takes the colours anew: the page went dark or light. */
  restyle() {
    const style = getComputedStyle(this.canvas);
    /** @param {string} name */
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    this.colours = EMOTIONS.map(colour);
    this.ink = colour("ink");
    this.soft = colour("soft");
    this.line = colour("line");
    this.ground = colour("raised");
    this.font = style.fontFamily;
    this.hatch = this.#hatched(colour("silence"), this.soft);
  }

  /** Takes the canvas's size anew. */
  resize() {
    const { width, height } = this.canvas.getBoundingClientRect();
    const scale = Math.min(devicePixelRatio || 1, 3);
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    this.context.setTransform(scale, 0, 0, scale, 0, 0);
    [this.width, this.height] = [width, height];
    // Words grow with the picture: it is read from across a room on a wall.
    this.size = Math.round(Math.max(11, Math.min(18, width / 90)));
  }

  /** @param {number} x of the canvas, css pixels; the second that is there */
  second(x) {
    return this.endS - SHOWN_S * (1 - x / this.width);
  }

  /** @param {number} endS the second at the right edge */
  draw(endS) {
    this.endS = endS;
    const { context, width, height, history } = this;
    context.clearRect(0, 0, width, height);
    const shown = history.moments.filter((moment) => moment.toS > endS - SHOWN_S - 2);
    for (const stretch of stretches(shown)) {
      if (stretch[0].probabilities) this.#stack(stretch);
      else this.#silence(stretch);
    }
    this.#grid();
    if (shown.length === 0) this.#hint();
    this.#words(reigns(shown));
    this.#breaks();
    this.#cursor();
  }

  /** @param {number} second */
  #x(second) {
    return this.width * (1 + (second - this.endS) / SHOWN_S);
  }

  get #bottom() {
    return this.height - AXIS;
  }

  /** @param {Moment[]} stretch moments without a hole between them */
  #stack(stretch) {
    const { context } = this;
    const tall = this.#bottom - RIBBON;
    // From edge to edge: the first and the last moment hold to their ends.
    const [first, last] = [stretch[0], stretch[stretch.length - 1]];
    const times = [first.fromS, ...stretch.map((m) => (m.fromS + m.toS) / 2), last.toS];
    const values = [first, ...stretch, last];
    const xs = times.map((time) => this.#x(time));
    let floor = values.map(() => this.#bottom);
    for (let k = EMOTIONS.length - 1; k >= 0; k--) {
      const top = floor.map((y, i) => y - tall * (values[i].probabilities?.[k] ?? 0));
      context.beginPath();
      for (let i = 0; i < xs.length; i++) context.lineTo(xs[i], top[i]);
      for (let i = xs.length - 1; i >= 0; i--) context.lineTo(xs[i], floor[i]);
      context.fillStyle = this.colours[k];
      context.fill();
      // A seam between two layers: they are told apart by more than their colours.
      context.strokeStyle = this.ground;
      context.lineWidth = 1;
      context.beginPath();
      for (let i = 0; i < xs.length; i++) context.lineTo(xs[i], top[i]);
      context.stroke();
      floor = top;
    }
  }

  /** @param {Moment[]} stretch */
  #silence(stretch) {
    const from = this.#x(stretch[0].fromS);
    const to = this.#x(stretch[stretch.length - 1].toS);
    this.context.fillStyle = this.hatch;
    this.context.fillRect(from, RIBBON, to - from, this.#bottom - RIBBON);
    this.context.font = `${this.size}px ${this.font}`;
    if (this.context.measureText("silence").width + 12 < to - from) {
      this.#plate("silence", (from + to) / 2, (RIBBON + this.#bottom) / 2);
    }
  }

  #grid() {
    const { context, width } = this;
    context.strokeStyle = this.line;
    context.fillStyle = this.soft;
    context.font = `${this.size}px ${this.font}`;
    context.textBaseline = "alphabetic";
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(0, this.#bottom + 0.5);
    context.lineTo(width, this.#bottom + 0.5);
    context.stroke();
    const step = width < 480 ? 60 : 30;
    for (let ago = 0; ago <= SHOWN_S; ago += step) {
      const x = width * (1 - ago / SHOWN_S);
      context.textAlign = ago === 0 ? "right" : ago === SHOWN_S ? "left" : "center";
      context.fillText(ago === 0 ? "now" : past(ago), x, this.height - 5);
    }
  }

  #hint() {
    const { context } = this;
    context.fillStyle = this.soft;
    context.font = `${this.size + 2}px ${this.font}`;
    context.textAlign = "center";
    const middle = (RIBBON + this.#bottom) / 2;
    context.fillText("What is heard comes in from the right", this.width / 2, middle);
  }

  /** @param {Reign[]} all */
  #words(all) {
    const { context } = this;
    context.textBaseline = "alphabetic";
    context.textAlign = "left";
    context.font = `600 ${this.size}px ${this.font}`;
    for (const { from, to, label } of all) {
      const [x, end] = [Math.max(0, this.#x(from)), this.#x(to)];
      context.fillStyle = this.colours[EMOTIONS.indexOf(label)];
      context.fillRect(x, RIBBON - BAND - 2, Math.max(1, end - x - 1), BAND);
      context.fillStyle = this.ink;
      const text = [label, SIGNS[label]].find((word) => context.measureText(word).width + 4 < end - x);
      if (text) context.fillText(text, x + 1, RIBBON - BAND - 7);
    }
  }

  #breaks() {
    const { context } = this;
    context.font = `${this.size}px ${this.font}`;
    for (const { atS, text } of this.history.breaks) {
      const x = this.#x(atS);
      if (x < 0) continue;
      context.strokeStyle = this.ink;
      context.setLineDash([4, 3]);
      context.beginPath();
      context.moveTo(x, RIBBON - BAND - 2);
      context.lineTo(x, this.#bottom);
      context.stroke();
      context.setLineDash([]);
      const half = context.measureText(text).width / 2 + 6;
      this.#plate(text, Math.min(this.width - half, Math.max(half, x)), RIBBON + this.size + 4);
    }
  }

  #cursor() {
    const x = this.#x(this.cursorS);
    if (!(x >= 0 && x <= this.width)) return;
    this.context.fillStyle = this.ink;
    this.context.fillRect(Math.round(x) - 1, RIBBON - BAND - 2, 2, this.#bottom - RIBBON + BAND + 2);
  }

  /**
   * Words on a ground of their own, readable on any colour.
   *
   * @param {string} text
   * @param {number} x
   * @param {number} y
   */
  #plate(text, x, y) {
    const { context } = this;
    const wide = context.measureText(text).width + 10;
    context.fillStyle = this.ground;
    context.beginPath();
    context.roundRect(x - wide / 2, y - this.size * 0.8, wide, this.size * 1.6, 4);
    context.fill();
    context.fillStyle = this.ink;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(text, x, y + 0.5);
    context.textAlign = "left";
    context.textBaseline = "alphabetic";
  }

  /**
   * @param {string} ground
   * @param {string} stroke
   * @returns {CanvasPattern | string}
   */
  #hatched(ground, stroke) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const pen = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
    pen.fillStyle = ground;
    pen.fillRect(0, 0, 8, 8);
    pen.strokeStyle = stroke;
    pen.globalAlpha = 0.35;
    pen.beginPath();
    for (const x of [-8, 0, 8]) {
      pen.moveTo(x, 8);
      pen.lineTo(x + 8, 0);
    }
    pen.stroke();
    return this.context.createPattern(tile, "repeat") ?? ground;
  }
}

/** @param {number} seconds */
function past(seconds) {
  return `−${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/**
 * Moments that are drawn as one shape: of the same kind, with no hole between them.
 *
 * @param {Moment[]} moments
 * @returns {Moment[][]}
 */
export function stretches(moments) {
  /** @type {Moment[][]} */
  const all = [];
  for (const moment of moments) {
    const last = all.at(-1);
    const same = last && !last[0].probabilities === !moment.probabilities;
    if (last && same && moment.joined) last.push(moment);
    else all.push([moment]);
  }
  return all;
}

/**
 * Which emotion dominated from when to when.
 *
 * @param {Moment[]} moments
 * @returns {Reign[]}
 */
export function reigns(moments) {
  /** @type {Reign[]} */
  const all = [];
  for (const { fromS, toS, label, joined } of moments) {
    const last = all.at(-1);
    if (last && joined && last.label === label && last.to === fromS) last.to = toS;
    else if (label) all.push({ from: fromS, to: toS, label });
  }
  return all;
}
