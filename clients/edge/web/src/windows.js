/**
 * Samples to windows, as the server cuts them: one ends every second from the first on and covers the
 * last three, and what is left at the end is one more if at least half a second of it is new.
 */
const WINDOW_S = 3;
const HOP_S = 1;
const LEAST_NEW_S = 0.5;

/** @typedef {{start: number, end: number, samples: Float32Array<ArrayBuffer>}} Window in seconds */

export class Windows {
  /** @param {number} rate Hz of what will be fed */
  constructor(rate) {
    this.rate = rate;
    this.heard = new Float32Array(WINDOW_S * rate);
    this.hop = HOP_S * rate;
    this.fresh = 0; // samples since the last window
    this.end = 0;
  }

  /**
   * @param {Float32Array} samples any number
   * @returns {Window[]} those that are complete now
   */
  feed(samples) {
    const windows = [];
    for (let from = 0; from < samples.length; ) {
      const part = samples.subarray(from, from + this.hop - this.fresh);
      this.heard.copyWithin(0, part.length);
      this.heard.set(part, this.heard.length - part.length);
      from += part.length;
      this.fresh += part.length;
      this.end += part.length;
      if (this.fresh === this.hop) windows.push(this.#cut());
    }
    return windows;
  }

  /** @returns {Window[]} what is left, if it is worth it */
  finish() {
    return this.fresh >= LEAST_NEW_S * this.rate ? [this.#cut()] : [];
  }

  #cut() {
    this.fresh = 0;
    const length = Math.min(this.end, this.heard.length);
    return {
      start: (this.end - length) / this.rate,
      end: this.end / this.rate,
      samples: this.heard.slice(this.heard.length - length),
    };
  }
}
