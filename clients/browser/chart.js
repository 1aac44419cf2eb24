/** A whole call on a canvas: the emotions' shares stacked, silences, holes, and where rules held. */
import { EMOTIONS, SIGNS } from "./emotions.js";
import { SILENT, UNKNOWN } from "./history.js";
import { clock } from "./format.js";
import { fill, hatch, prepared } from "./sparkline.js";

/** @typedef {import("./calls.js").Alert} Alert */
/** @typedef {import("./history.js").Whole} Whole */
/** @typedef {import("./sparkline.js").Palette} Palette */

const ALERTS = 10; // CSS pixels above the stack
const AXIS = 20; // and below
const STEPS_S = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
const TICK_WIDTH = 64;
const RUN_WIDTH = 18;

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Whole} whole
 * @param {readonly Alert[]} alerts
 * @param {{width: number, height: number, end_s: number, at_s: number}} view CSS pixels; the call's
 *   length; the moment that is looked at
 * @param {Palette} colours
 */
export function drawChart(canvas, whole, alerts, { width, height, end_s, at_s }, colours) {
  const context = prepared(canvas, width, height);
  if (!context) return;
  const ratio = window.devicePixelRatio || 1;
  const long = Math.max(end_s, 1);
  /** @param {number} s */
  const x = (s) => Math.round((Math.min(s, long) / long) * width * ratio) / ratio;
  const high = height - ALERTS - AXIS;
  for (let i = 0; i < whole.count; i++) {
    const { from, to, kind, shares } = whole.at(i);
    const [left, wide] = [x(from), x(to) - x(from)];
    if (kind === UNKNOWN) hatch(context, left, ALERTS, wide, high, colours);
    else if (kind === SILENT) fill(context, colours.silence, left, ALERTS, wide, high);
    else stack(context, shares, left, wide, high, colours);
  }
  letters(context, whole, x, high, colours);
  for (const { from_s, to_s } of alerts) {
    const left = x(from_s);
    fill(context, colours.alarm, left, 1, Math.max(3, x(to_s ?? long) - left), 5);
  }
  axis(context, long, x, { width, height }, colours);
  fill(context, colours.ink, Math.min(x(at_s), width - 2), 0, 2, height - AXIS);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Float32Array} shares
 * @param {number} left
 * @param {number} wide
 * @param {number} high
 * @param {Palette} colours
 */
function stack(context, shares, left, wide, high, colours) {
  let below = ALERTS + high;
  shares.forEach((share, i) => {
    fill(context, colours.emotions[i], left, below - share * high, wide, share * high + 0.5);
    below -= share * high;
  });
}

/**
 * A letter on each run of one emotion that is wide enough.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {Whole} whole
 * @param {(s: number) => number} x
 * @param {number} high
 * @param {Palette} colours
 */
function letters(context, whole, x, high, colours) {
  context.font = "700 14px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineWidth = 4;
  context.lineJoin = "round";
  context.strokeStyle = colours.ground;
  context.fillStyle = colours.ink;
  for (let i = 0; i < whole.count;) {
    const first = whole.at(i);
    while (i < whole.count && whole.at(i).kind === first.kind) i++;
    const [left, right] = [x(first.from), x(i * whole.step_s)];
    if (first.kind < 0 || right - left < RUN_WIDTH) continue;
    const { shares } = whole.at(Math.floor((first.from / whole.step_s + i) / 2));
    const below = shares.slice(0, first.kind).reduce((sum, share) => sum + share, 0);
    const y = ALERTS + high * (1 - below - shares[first.kind] / 2);
    const letter = SIGNS[EMOTIONS[first.kind]];
    context.strokeText(letter, (left + right) / 2, y);
    context.fillText(letter, (left + right) / 2, y);
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} long seconds
 * @param {(s: number) => number} x
 * @param {{width: number, height: number}} size
 * @param {Palette} colours
 */
function axis(context, long, x, { width, height }, colours) {
  const ticks = Math.max(1, width / TICK_WIDTH);
  const step = STEPS_S.find((s) => long / s <= ticks) ?? Math.ceil(long / ticks / 14400) * 14400;
  fill(context, colours.line, 0, height - AXIS, width, 1);
  context.fillStyle = colours.soft;
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "bottom";
  for (let s = 0; s <= long; s += step) {
    context.textAlign = s === 0 ? "left" : x(s) > width - 20 ? "right" : "center";
    context.fillText(clock(s), x(s), height);
  }
}
