/** What every connection to the server needs: how a token travels, and when to try again. No DOM. */

const PROTOCOL = "emotion.v1";
const FIRST_MS = 250;
const LONGEST_MS = 8_000;

/** Waits that double, each a random part of what it may be: a thousand pages do not come at once. */
export class Backoff {
  #most = FIRST_MS;

  /** @param {() => number} chance from 0 to 1, evenly */
  constructor(chance = Math.random) {
    this.chance = chance;
  }

  /** @returns {number} milliseconds to wait before the next attempt */
  next() {
    const most = this.#most;
    this.#most = Math.min(2 * most, LONGEST_MS);
    return Math.round(most * this.chance());
  }

  reset() {
    this.#most = FIRST_MS;
  }
}

/**
 * The subprotocols that carry a token: browsers cannot set headers.
 *
 * @param {string} [token] where there is one
 * @returns {string[]}
 */
export function subprotocols(token) {
  if (!token) return [PROTOCOL];
  const bytes = String.fromCharCode(...new TextEncoder().encode(token));
  const base64 = btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return [PROTOCOL, `bearer.${base64}`];
}
