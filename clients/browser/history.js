/**
 * What a channel sounded like: the last two minutes as they were, and the whole call as coarsely as it
 * must be for its memory to stay bounded. No DOM.
 */
import { EMOTIONS } from "./emotions.js";

/** @typedef {import("./emotions.js").Emotion} Emotion */

/** Stands in the place of an emotion's index. */
export const SILENT = -1;
/** Nobody knows: events were missed, windows skipped, or the page was not open yet. */
export const UNKNOWN = -2;

export const HISTORY_S = 120;
/** Two minutes at the shortest hop, 0.25 s, and as many holes. */
export const MAX_STRETCHES = 960;
/** Each covers a second at first, and twice as much whenever the call has outgrown them. */
export const MAX_BINS = 512;

/**
 * Seconds of audio that sounded alike.
 * @typedef {object} Stretch
 * @property {number} from
 * @property {number} to
 * @property {number} kind an index of EMOTIONS, SILENT or UNKNOWN
 * @property {number} share the emotion's, 0 to 1
 */

/** The last two minutes. */
export class Recent {
  /** @type {Stretch[]} */
  stretches = [];

  /** @param {Stretch} stretch after all before */
  add(stretch) {
    const list = this.stretches;
    list.push(stretch);
    let old = Math.max(0, list.length - MAX_STRETCHES);
    while (list[old].to <= stretch.to - HISTORY_S) old++;
    if (old) list.splice(0, old);
  }
}

/**
 * A piece of the whole call.
 * @typedef {object} Bin
 * @property {number} from seconds
 * @property {number} to
 * @property {number} kind 0 or more where emotions were heard: the strongest's index; else as in Stretch
 * @property {Float32Array} shares of the eight emotions, together 1 where there are any
 */

/** The whole call in at most MAX_BINS pieces of equal length. */
export class Whole {
  step_s = 1;
  count = 0;
  /** Seconds of each emotion in each bin, and of silence. */
  #heard = new Float32Array(64 * EMOTIONS.length);
  #silent = new Float32Array(64);

  /**
   * @param {number} from seconds
   * @param {number} to
   * @param {readonly number[] | null} shares of the eight emotions; null for silence
   */
  add(from, to, shares) {
    while (to > MAX_BINS * this.step_s) this.#fold();
    this.#grow(Math.ceil(to / this.step_s));
    for (let bin = Math.floor(from / this.step_s); bin * this.step_s < to; bin++) {
      const seconds = Math.min(to, (bin + 1) * this.step_s) - Math.max(from, bin * this.step_s);
      if (shares)
        shares.forEach((share, i) => (this.#heard[bin * EMOTIONS.length + i] += share * seconds));
      else this.#silent[bin] += seconds;
    }
  }

  /** @param {number} index @returns {Bin} */
  at(index) {
    const first = index * EMOTIONS.length;
    const shares = this.#heard.slice(first, first + EMOTIONS.length);
    const heard = shares.reduce((sum, share) => sum + share, 0);
    if (heard) shares.forEach((share, i) => (shares[i] = share / heard));
    const silent = this.#silent[index];
    const kind = heard && heard >= silent ? strongest(shares) : silent ? SILENT : UNKNOWN;
    return { from: index * this.step_s, to: (index + 1) * this.step_s, kind, shares };
  }

  /** @returns {{shares: Float32Array, heard_s: number, silent_s: number}} of the whole call */
  total() {
    const shares = new Float32Array(EMOTIONS.length);
    for (let i = 0; i < this.count * EMOTIONS.length; i++) shares[i % EMOTIONS.length] += this.#heard[i];
    const heard_s = shares.reduce((sum, share) => sum + share, 0);
    if (heard_s) shares.forEach((share, i) => (shares[i] = share / heard_s));
    const silent_s = this.#silent.reduce((sum, seconds) => sum + seconds, 0);
    return { shares, heard_s, silent_s };
  }

  /** Two bins become one that covers twice as much. */
  #fold() {
    const heard = new Float32Array(this.#heard.length);
    const silent = new Float32Array(this.#silent.length);
    for (let i = 0; i < this.#heard.length; i++) {
      const bin = Math.floor(i / EMOTIONS.length) >> 1;
      heard[bin * EMOTIONS.length + (i % EMOTIONS.length)] += this.#heard[i];
    }
    this.#silent.forEach((seconds, bin) => (silent[bin >> 1] += seconds));
    this.#heard = heard;
    this.#silent = silent;
    this.step_s *= 2;
    this.count = Math.ceil(this.count / 2);
  }

  /** @param {number} count of bins that are needed */
  #grow(count) {
    this.count = Math.max(this.count, count);
    if (count <= this.#silent.length) return;
    const room = Math.min(MAX_BINS, 2 ** Math.ceil(Math.log2(count)));
    this.#heard = enlarged(this.#heard, room * EMOTIONS.length);
    this.#silent = enlarged(this.#silent, room);
  }
}

/** @param {Float32Array} array @param {number} length */
function enlarged(array, length) {
  const larger = new Float32Array(length);
  larger.set(array);
  return larger;
}

/** @param {ArrayLike<number>} shares */
function strongest(shares) {
  let best = 0;
  for (let i = 1; i < shares.length; i++) if (shares[i] > shares[best]) best = i;
  return best;
}
