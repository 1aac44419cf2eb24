/** What is seen: the emotion now, eight bars, what is going on. */
import { SIGNS } from "../../../browser/emotions.js";

/**
 * What is known of a window, with the protocol's names.
 *
 * @typedef {object} Line
 * @property {number} start_s
 * @property {number} end_s
 * @property {string} label
 * @property {Record<string, number>} probabilities
 */

const QUIET = 0.003; // root mean square, about -50 dB of full scale

/** @param {string} id */
export const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/**
 * @param {string} text
 * @param {"said" | "problem"} kind
 */
export function say(text, kind = "said") {
  element("status").dataset.kind = kind;
  element("status").textContent = text;
}

/** @param {string[]} labels */
export function drawBars(labels) {
  element("bars").replaceChildren(...labels.map(bar));
}

/** @param {string} label */
function bar(label) {
  const row = document.createElement("li");
  const made = ["b", "span", "div", "output"].map((tag) => document.createElement(tag));
  const [sign, name, meter, percent] = made;
  row.id = `bar-${label}`;
  row.style.setProperty("--hue", `var(--${label})`);
  sign.textContent = signOf(label);
  sign.ariaHidden = "true";
  name.textContent = label;
  meter.role = "meter";
  meter.ariaLabel = label;
  meter.ariaValueMin = "0";
  meter.ariaValueMax = "100";
  meter.ariaValueNow = "0";
  percent.textContent = "–";
  row.append(sign, name, meter, percent);
  return row;
}

/**
 * @param {Line} line
 * @param {boolean} quiet whether next to nothing was heard: then no emotion is claimed
 */
export function draw(line, quiet) {
  for (const [label, share] of Object.entries(line.probabilities)) drawShare(label, share);
  const percent = `${Math.round(100 * line.probabilities[line.label])} %`;
  const now = element("now");
  now.dataset.state = quiet ? "quiet" : "heard";
  now.style.setProperty("--hue", quiet ? "var(--line)" : `var(--${line.label})`);
  element("sign").textContent = quiet ? "·" : signOf(line.label);
  const word = quiet ? "Too quiet to judge" : line.label;
  if (element("label").textContent !== word) element("label").textContent = word; // announced once
  const span = `${line.start_s.toFixed(1)} to ${line.end_s.toFixed(1)} s`;
  element("when").textContent = quiet ? span : `${percent}, ${span}`;
}

/**
 * @param {string} label
 * @param {number} share 0 to 1
 */
function drawShare(label, share) {
  const row = element(`bar-${label}`);
  const meter = /** @type {HTMLElement} */ (row.querySelector("[role=meter]"));
  meter.style.setProperty("--share", String(share));
  meter.ariaValueNow = String(Math.round(100 * share));
  /** @type {HTMLElement} */ (row.querySelector("output")).textContent = `${Math.round(100 * share)} %`;
}

/** @param {Float32Array} samples */
export function isQuiet(samples) {
  let sum = 0;
  for (const value of samples) sum += value * value;
  return sum < QUIET * QUIET * samples.length;
}

/** @param {string} label */
const signOf = (label) => SIGNS[/** @type {keyof typeof SIGNS} */ (label)] ?? label[0].toUpperCase();
