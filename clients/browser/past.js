/**
 * What was judged, as far back as is shown, and the log for the download: both bounded, so that a page
 * which listens for days needs no more memory than one that listens for minutes. No DOM.
 *
 * Times are the page's own seconds: they go on from stream to stream and from session to session.
 */
import { EMOTIONS } from "./emotions.js";

/**
 * @typedef {object} Moment
 * @property {number} fromS
 * @property {number} toS what this window brought: the time since the window before
 * @property {Float32Array | null} probabilities smoothed, in the order of EMOTIONS; null for silence
 * @property {import("./emotions.js").Emotion | null} label of the smoothed ones
 * @property {boolean} joined whether it goes on where the moment before ended
 *
 * @typedef {{atS: number, text: string}} Break
 */

export const SHOWN_S = 120;
export const MAX_MOMENTS = 1024; // two minutes at the shortest hop, twice over
export const MAX_BREAKS = 32;
export const MAX_LOG = 20_000; // nearly three hours at two a second; then the oldest go

export class History {
  constructor() {
    /** @type {Moment[]} */
    this.moments = [];
    /** @type {Break[]} */
    this.breaks = [];
    /** @type {object[]} */
    this.log = [];
    this.forgotten = 0; // entries that the log has lost
    this.endS = 0;
    this.sinceS = NaN;
  }

  /**
   * @param {import("./messages.js").Judged | import("./messages.js").Silence} event
   * @param {number} sinceS the page's second from which its times count
   * @param {number} hopS
   * @returns {Moment}
   */
  add(event, sinceS, hopS) {
    const toS = sinceS + event.end_s;
    const last = this.moments.at(-1);
    // Where the server skipped a window or two, the next one still heard what they would have.
    const joined = !!last && sinceS === this.sinceS && sinceS + event.start_s <= last.toS;
    this.sinceS = sinceS;
    const judged = event.type === "emotion" ? event.smoothed : null;
    const moment = {
      fromS: joined ? last.toS : Math.max(toS - hopS, last?.toS ?? 0),
      toS,
      probabilities: judged && Float32Array.from(EMOTIONS, (name) => judged.probabilities[name] ?? 0),
      label: judged && judged.label,
      joined,
    };
    this.moments.push(moment);
    this.endS = Math.max(this.endS, toS);
    this.#bound();
    return moment;
  }

  /**
   * Something that the timeline marks: a new stream, a session that was lost.
   *
   * @param {number} atS
   * @param {string} text
   */
  mark(atS, text) {
    this.breaks.push({ atS, text });
    this.#bound();
  }

  /** @param {object} message as it was on the wire */
  record(message) {
    this.log.push(message);
    if (this.log.length <= MAX_LOG) return;
    const many = MAX_LOG / 10; // at a time: shifting an array of that length costs
    this.log.splice(0, many);
    this.forgotten += many;
  }

  /** The log for a file, which says itself where it does not begin with the beginning. */
  saved() {
    if (this.forgotten === 0) return this.log;
    return [{ type: "forgotten", count: this.forgotten, message: this.shortness }, ...this.log];
  }

  /** That the log has lost something, in words; empty where it has not. */
  get shortness() {
    if (this.forgotten === 0) return "";
    const [lost, most] = [this.forgotten, MAX_LOG].map((n) => n.toLocaleString("en"));
    return `Only the last messages are kept, ${most} at most: ${lost} older ones are not in the file.`;
  }

  /**
   * @param {number} atS
   * @returns {Moment | undefined} what was judged then
   */
  at(atS) {
    return this.moments.findLast((moment) => moment.fromS <= atS && atS <= moment.toS);
  }

  /** Keeps a little more than is shown, so that what leaves on the left leaves smoothly. */
  #bound() {
    const oldest = this.endS - SHOWN_S - 12;
    const gone = this.moments.findIndex((moment) => moment.toS >= oldest);
    this.moments.splice(0, Math.max(gone, this.moments.length - MAX_MOMENTS, 0));
    while (this.breaks.length > MAX_BREAKS || (this.breaks[0]?.atS ?? Infinity) < oldest) {
      this.breaks.shift();
    }
  }
}

/**
 * Which second of sound is now: steady as the wall clock, so that the timeline glides, and drawn gently
 * to what was captured, because the two clocks drift apart over hours.
 */
export class Playhead {
  #offset = NaN;

  /**
   * @param {number} soundS captured so far
   * @param {number} wallS
   */
  advance(soundS, wallS) {
    const error = soundS - wallS - this.#offset;
    if (!(Math.abs(error) < 1)) this.#offset = soundS - wallS; // the first, or after a pause
    else this.#offset += 0.02 * error;
  }

  /** @param {number} wallS */
  at(wallS) {
    return Number.isNaN(this.#offset) ? 0 : wallS + this.#offset;
  }

  reset() {
    this.#offset = NaN;
  }
}

/** What a screen reader is told: a change that lasts, and not one on the heels of another. */
export class Narrator {
  #said = "";
  #candidate = "";
  #sinceS = 0;
  #saidS = -Infinity;

  /**
   * @param {number} lastingS for which something must hold
   * @param {number} pauseS between two announcements
   */
  constructor(lastingS = 2, pauseS = 6) {
    this.lastingS = lastingS;
    this.pauseS = pauseS;
  }

  /**
   * @param {string} text
   * @param {number} nowS
   * @returns {string | null} what is to be said now
   */
  hear(text, nowS) {
    if (text !== this.#candidate) {
      this.#candidate = text;
      this.#sinceS = nowS;
    }
    if (text === this.#said) return null;
    if (nowS - this.#sinceS < this.lastingS || nowS - this.#saidS < this.pauseS) return null;
    this.#said = text;
    this.#saidS = nowS;
    return text;
  }
}
