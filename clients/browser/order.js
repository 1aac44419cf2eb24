/** Which calls are shown, and in which order. No DOM. */
import { LINGER_S } from "./calls.js";
import { EMOTIONS } from "./emotions.js";

/** @typedef {import("./calls.js").Call} Call */
/** @typedef {import("./emotions.js").Emotion} Emotion */
/** @typedef {Emotion | "silent"} Sound */

/** @type {readonly Sound[]} */
export const SOUNDS = [...EMOTIONS, "silent"];

/**
 * What a supervisor asked for.
 * @typedef {object} Choice
 * @property {string} sort `alert`, `name`, `longest`, `newest` or an emotion
 * @property {"live" | "ended" | "all"} which
 * @property {boolean} alerting only those for which a rule holds
 * @property {Set<Sound>} sounds only those that sound so; all where it is empty
 * @property {string} search part of a stream's id
 */

const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

/** @param {Call} a @param {Call} b */
const byName = (a, b) => collator.compare(a.stream, b.stream);

/** @param {Call} call */
const raised = (call) => call.alert?.time ?? 0;

/** @type {Record<string, (a: Call, b: Call) => number>} */
const SORTS = {
  alert: (a, b) => raised(b) - raised(a),
  name: byName,
  longest: (a, b) => b.duration_s - a.duration_s,
  newest: (a, b) => a.duration_s - b.duration_s,
};

/**
 * The most of an emotion first, in steps of ten per cent, so that calls do not dance.
 * @param {Emotion} label
 * @returns {(a: Call, b: Call) => number}
 */
function mostly(label) {
  /** @param {Call} call */
  const share = (call) =>
    call.sounds === "silent" ? -1 : Math.round(10 * (call.track?.share(label) ?? -1));
  return (a, b) => share(b) - share(a);
}

/**
 * @param {Iterable<Call>} calls
 * @param {Choice} choice
 * @param {number} now by the server's clock
 * @returns {Call[]} those that are shown, in order
 */
export function chosen(calls, choice, now) {
  const emotion = EMOTIONS.find((label) => label === choice.sort);
  const order = emotion ? mostly(emotion) : (SORTS[choice.sort] ?? byName);
  return among(calls, choice.which, now)
    .filter((call) => fits(call, choice))
    .sort((a, b) => Number(b.live) - Number(a.live) || order(a, b) || byName(a, b));
}

/**
 * @param {Iterable<Call>} calls
 * @param {Choice["which"]} which
 * @param {number} now
 */
export function among(calls, which, now) {
  return [...calls].filter((call) => {
    if (which === "all") return true;
    if (which === "ended") return !call.live;
    return call.live || now - call.ended_at < LINGER_S;
  });
}

/** @param {Call} call @param {Choice} choice */
function fits(call, { alerting, sounds, search }) {
  if (alerting && !call.alert) return false;
  if (sounds.size && !(call.sounds && sounds.has(call.sounds))) return false;
  return call.stream.toLowerCase().includes(search.trim().toLowerCase());
}

/**
 * How many live calls sound how, and for how many a rule holds.
 *
 * @param {Iterable<Call>} calls
 */
export function counted(calls) {
  const sounds = /** @type {Map<Sound, number>} */ (new Map(SOUNDS.map((sound) => [sound, 0])));
  const count = { live: 0, ended: 0, alerting: 0, sounds };
  for (const call of calls) {
    if (!call.live) count.ended++;
    else {
      count.live++;
      if (call.alert) count.alerting++;
      if (call.sounds) sounds.set(call.sounds, (sounds.get(call.sounds) ?? 0) + 1);
    }
  }
  return count;
}
