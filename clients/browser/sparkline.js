/**
 * The last two minutes of a call in little room: a step a window, coloured by its emotion and as high as
 * its share, with the emotion's letter where it lasts. Silences are pale, what nobody heard is hatched.
 */
import { EMOTIONS, SIGNS } from "./emotions.js";
import { HISTORY_S, SILENT, UNKNOWN } from "./history.js";

/** @typedef {import("./history.js").Stretch} Stretch */

/**
 * @typedef {object} Palette
 * @property {string[]} emotions in the order of EMOTIONS
 * @property {string} silence
 * @property {string} line
 * @property {string} ink
 * @property {string} soft
 * @property {string} alarm
 * @property {string} ground
 */

/** Letters are written from this height on, in CSS pixels, over runs at least so wide. */
const LETTERS_FROM = 34;
const LETTER_WIDTH = 15;
const LETTER_HEIGHT = 13;
const FLOOR = 0.15;

/** The theme's colours now; ask again when it changes. @returns {Palette} */
export function palette() {
  const style = getComputedStyle(document.documentElement);
  /** @param {string} name */
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const [silence, line, ink] = [colour("silence"), colour("line"), colour("ink")];
  const [soft, alarm, ground] = [colour("soft"), colour("alarm"), colour("ground")];
  return { emotions: EMOTIONS.map(colour), silence, line, ink, soft, alarm, ground };
}

/**
 * Sets a canvas up for drawing in CSS pixels, and clears it.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {number} width CSS pixels, measured by the caller: reading them here would lay out the page
 * @param {number} height
 * @returns {CanvasRenderingContext2D | null}
 */
export function prepared(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== across || canvas.height !== down) {
    canvas.width = across;
    canvas.height = down;
  }
  const context = canvas.getContext("2d");
  context?.setTransform(ratio, 0, 0, ratio, 0, 0);
  context?.clearRect(0, 0, width, height);
  return context;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {readonly Stretch[]} stretches
 * @param {number} end_s the right edge
 * @param {{width: number, height: number}} size CSS pixels
 * @param {Palette} colours
 */
export function drawSparkline(canvas, stretches, end_s, { width, height }, colours) {
  const context = prepared(canvas, width, height);
  if (!context) return;
  const ratio = window.devicePixelRatio || 1;
  /** On whole pixels: between neighbours shows no seam. @param {number} s */
  const x = (s) => Math.round(Math.max(0, 1 - (end_s - s) / HISTORY_S) * width * ratio) / ratio;
  const top = height >= LETTERS_FROM ? LETTER_HEIGHT : 0;
  for (const { from, to, kind, share } of stretches) {
    const [left, right] = [x(from), x(to)];
    // What was before this page opened is left empty: it is no hole.
    if (kind === UNKNOWN) from && hatch(context, left, top, right - left, height - top, colours);
    else if (kind === SILENT) fill(context, colours.silence, left, top, right - left, height - top);
    else {
      const high = (height - top) * (FLOOR + (1 - FLOOR) * share);
      fill(context, colours.emotions[kind], left, height - high, right - left, high);
    }
  }
  fill(context, colours.line, 0, height - 1, width, 1);
  if (top) letters(context, stretches, x, colours);
}

/**
 * A letter over each run of one emotion that is wide enough.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {readonly Stretch[]} stretches
 * @param {(s: number) => number} x
 * @param {Palette} colours
 */
function letters(context, stretches, x, colours) {
  context.fillStyle = colours.soft;
  context.font = "600 10px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "top";
  for (let i = 0; i < stretches.length;) {
    const first = i;
    while (i < stretches.length && stretches[i].kind === stretches[first].kind) i++;
    const [left, right] = [x(stretches[first].from), x(stretches[i - 1].to)];
    const emotion = EMOTIONS[stretches[first].kind];
    if (emotion && right - left >= LETTER_WIDTH) context.fillText(SIGNS[emotion], (left + right) / 2, 0);
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {string} colour
 * @param {number} x
 * @param {number} y
 * @param {number} width
 * @param {number} height
 */
export function fill(context, colour, x, y, width, height) {
  context.fillStyle = colour;
  context.fillRect(x, y, width, height);
}

/**
 * What nobody heard.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {number} x
 * @param {number} y
 * @param {number} width
 * @param {number} height
 * @param {Palette} colours
 */
export function hatch(context, x, y, width, height, colours) {
  if (width <= 0) return;
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.beginPath();
  for (let at = Math.floor((x - height) / 6) * 6; at < x + width; at += 6) {
    context.moveTo(at, y + height);
    context.lineTo(at + height, y);
  }
  context.strokeStyle = colours.line;
  context.lineWidth = 1.5;
  context.stroke();
  context.restore();
}

/**
 * The same in words.
 *
 * @param {readonly Stretch[]} stretches
 * @param {number} end_s
 * @returns {string} such as "neutral 70 %, angry 20 %, silence 10 %"
 */
export function inWords(stretches, end_s) {
  const begin = end_s - HISTORY_S;
  const seconds = new Map();
  let all = 0;
  for (const { from, to, kind } of stretches) {
    const long = to - Math.max(from, begin);
    const name = kind === UNKNOWN ? "not heard" : kind === SILENT ? "silence" : EMOTIONS[kind];
    seconds.set(name, (seconds.get(name) ?? 0) + long);
    all += long;
  }
  const ranked = [...seconds].sort((a, b) => b[1] - a[1]).slice(0, 4);
  return (
    ranked.map(([name, s]) => `${name} ${Math.round((100 * s) / all)} %`).join(", ") || "nothing yet"
  );
}
