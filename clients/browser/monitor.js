/**
 * Follows the calls on a server by `/v1/monitor`, and misses none of their events unnoticed. No DOM.
 *
 * Every event comes under a cursor. Where the connection breaks, the monitor connects again and asks for
 * what came since the last cursor. Delivery is at least once: an event that comes again is known by its
 * `id` and left out. What the server does not have any more comes as a `gap`.
 */
import { Backoff, subprotocols } from "./connecting.js";

/**
 * One message of the server, as JSON has it: whoever uses a field looks at its type first.
 * @typedef {{type: string} & Record<string, unknown>} Wire
 */

/**
 * How it stands with the connection. `waiting` is between two attempts; `unauthorized` waits for
 * `authorize`, and `refused` is for good.
 * @typedef {{name: "connecting" | "live" | "waiting" | "unauthorized" | "refused" | "closed",
 *   message: string, retry_ms: number}} State
 */

/**
 * @typedef {object} Options
 * @property {(event: Wire) => void} heard called with each event, once; with an alert again where it is
 *   told again because it still holds
 * @property {(state: State) => void} changed called when the connection's state changes
 * @property {string} [token]
 * @property {string} [streams] a glob of stream ids
 * @property {string} [since] the last known cursor; without it all that the server still has comes first
 */

/** For a handshake. */
const PATIENCE_MS = 10_000;
/** A page cannot ping: after so long without a word the connection is made anew, in case it is dead. */
const SILENT_MS = 45_000;
/** Ids that are remembered so that their events count once; those that come again come soon. */
export const MAX_REMEMBERED = 16_384;
/** Before every event there is. */
const BEGINNING = "0-0";
/** Close codes (1006: none came) after which the server, or another node, may answer again. */
const PASSING_CODES = [1000, 1001, 1005, 1006, 1011, 1012, 1013];
const PASSING_ERRORS = ["at_capacity", "internal", "idle"];

/** The last ids; the one that was not seen for longest is forgotten first. */
export class Memory {
  /** @type {Set<string>} */
  #ids = new Set();

  constructor(size = MAX_REMEMBERED) {
    this.size = size;
  }

  /** @param {string} id @returns {boolean} whether it is not remembered; from now on it is */
  isNew(id) {
    const known = this.#ids.delete(id);
    this.#ids.add(id);
    if (this.#ids.size > this.size)
      this.#ids.delete(/** @type {string} */ (this.#ids.keys().next().value));
    return !known;
  }
}

export class Monitor {
  /** @type {WebSocket | null} */
  #socket = null;
  #backoff = new Backoff();
  #memory = new Memory();
  #timer = 0;
  /** @type {State | null} what the server said before it closed, where that decides what comes next */
  #verdict = null;

  /**
   * @param {string | URL} url of `/v1/monitor`, by ws or wss
   * @param {Options} options
   */
  constructor(url, { heard, changed, token = "", streams = "*", since = BEGINNING }) {
    this.url = new URL(url);
    this.heard = heard;
    this.changed = changed;
    this.token = token;
    this.streams = streams;
    this.since = since;
  }

  /** Connects; also at once where the next attempt is still waited for. */
  connect() {
    this.#drop();
    this.#verdict = null;
    this.#say("connecting", "connecting");
    const url = new URL(this.url);
    url.searchParams.set("streams", this.streams);
    url.searchParams.set("since", this.since);
    const socket = new WebSocket(url, subprotocols(this.token));
    this.#socket = socket;
    this.#expect(PATIENCE_MS);
    socket.onmessage = ({ data }) => {
      this.#expect(SILENT_MS);
      this.#take(data);
    };
    socket.onclose = ({ code }) => this.#ended(code);
  }

  /** Connects with another token. @param {string} token */
  authorize(token) {
    this.token = token;
    this.connect();
  }

  /** Ends for good. */
  close() {
    this.#drop();
    this.#say("closed", "closed");
  }

  /** Leaves the connection, or the wait for the next one, without a word. */
  #drop() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
  }

  /** Takes the connection for dead after so long without a word. @param {number} ms */
  #expect(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => (ms === PATIENCE_MS ? this.#ended(1006) : this.connect()), ms);
  }

  /** @param {unknown} data */
  #take(data) {
    const event = parsed(data);
    if (!event) return;
    if (event.type === "error") {
      this.#verdict = verdict(event);
      return;
    }
    this.#backoff.reset();
    // What came before the first event that this page ever asked for is not missed.
    const missed = event.type === "gap" && event.from !== BEGINNING;
    if (typeof event.cursor === "string") this.since = event.cursor;
    if (event.type === "subscribed") this.#say("live", "connected");
    else if (event.type === "gap") missed && this.heard(event);
    else if (event.type === "alert" || typeof event.id !== "string") this.heard(event);
    else if (this.#memory.isNew(event.id)) this.heard(event);
  }

  /** @param {number} code */
  #ended(code) {
    this.#drop();
    if (this.#verdict && this.#verdict.name !== "waiting") {
      this.changed(this.#verdict);
    } else if (PASSING_CODES.includes(code) || this.#verdict) {
      const retry_ms = this.#backoff.next();
      const text = code === 1001 ? "the server is shutting down" : "no connection to the server";
      this.#say("waiting", this.#verdict?.message ?? text, retry_ms);
      this.#timer = setTimeout(() => this.connect(), retry_ms);
    } else {
      this.#say("refused", `the server ended the connection (close code ${code})`);
    }
  }

  /** @param {State["name"]} name @param {string} message */
  #say(name, message, retry_ms = 0) {
    this.changed({ name, message, retry_ms });
  }
}

/** @param {unknown} data @returns {Wire | null} null where it is no message */
function parsed(data) {
  try {
    const event = JSON.parse(String(data));
    return typeof event?.type === "string" ? event : null;
  } catch {
    return null;
  }
}

/** What an error of the server means. @param {Wire} error @returns {State} */
function verdict({ code, message }) {
  const name =
    code === "unauthorized" ? code : PASSING_ERRORS.includes(String(code)) ? "waiting" : "refused";
  return { name, message: `the server said ${code}: ${message}`, retry_ms: 0 };
}
