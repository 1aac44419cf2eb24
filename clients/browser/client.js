/**
 * The protocol for a page: audio in, emotions out, over connections that may break. No DOM; copy this
 * file, backlog.js, connecting.js, pulse.js, beat.js and (for the types) messages.js and emotions.js
 * into a page of your own.
 *
 *     const stream = new EmotionStream({
 *       url: "wss://emotions.example.com",
 *       start: { sample_rate: 48000, hop_s: 0.5 },
 *       onMessage: (message) => message.type === "emotion" && console.log(message.smoothed.label),
 *       onState: (state) => console.log(state.name, state.reason ?? ""),
 *     });
 *     stream.open();
 *     stream.send(samples); // an Int16Array, as often as there is one
 *     const summary = await stream.stop();
 *
 * A connection that breaks is made again, and the session resumed: nothing is lost that a minute's
 * buffer holds, and what is lost is declared. Where the server has forgotten the session (it was
 * restarted), a new one begins with what is not judged yet; `onMessage` then says from which second its
 * times count.
 */
import { Backlog } from "./backlog.js";
import { Backoff, subprotocols } from "./connecting.js";
import { every } from "./pulse.js";

/** @typedef {import("./messages.js").Message} Message */
/** @typedef {import("./messages.js").Summary} Summary */

/**
 * Where the stream stands. `waiting`: for the next attempt, because of `code`: `unreachable`, `broken`,
 * `draining`, `forgotten` or `at_capacity`. `over`: `done`, `closed`, or the server's code of the error
 * that no other attempt would mend, such as `unauthorized`.
 *
 * @typedef {object} State
 * @property {"idle" | "connecting" | "open" | "waiting" | "over"} name
 * @property {string} [code]
 * @property {string} [reason] in words
 * @property {number} [waitMs] until the next attempt
 * @property {number} [lostS] where `open`: seconds of sound that fell out of the buffer before
 */

const BACKLOG_S = 60;
const MAX_GAP_S = 60; // that one `gap` may declare
const STEADY_MS = 8000; // a connection that held for so long was a good one
const TICK_MS = 1000;
const KEEPALIVE_MS = 10_000;
const PATIENCE_MS = 10_000; // for a connection, and for `started`
const DEAF_MS = 20_000; // audio sent, nothing heard: it is dead, whatever the browser believes
const MAX_FRAME = 1 << 15; // values; the server takes 1 MiB
const UNREACHABLE = "no connection, or this page's origin is not among the server's --origins";
const MAX_UNSENT_BYTES = 1 << 18; // in the socket; the rest waits in the backlog, where it is counted

export class EmotionStream {
  /** @type {WebSocket | null} */ #socket = null;
  /** @type {State} */ #state = { name: "idle" };
  /** @type {string | null} */ #session = null;
  /** @type {((summary: Summary | null) => void)[]} */ #stopping = [];
  /** @type {Message & {type: "error"} | null} */ #fatal = null;
  /** @type {Summary | null} */ #summary = null;
  #origin = 0; // position with which the session began
  #cursor = 0; // position of what is sent next
  #judged = 0; // position up to which results have come
  #seq = 0; // of the last event
  #stopped = false; // no more audio comes
  #stopSent = false;
  #backoff = new Backoff();
  #triedAt = 0;
  #openedAt = 0;
  #saidAt = 0;
  #unansweredSince = 0; // 0: nothing was sent since the server was last heard
  #retry = 0;
  /** @type {(() => void) | null} */ #rest = null;

  /**
   * @param {object} options
   * @param {string | URL} options.url of the server, ws, wss, http or https
   * @param {string} [options.token] where the server wants one
   * @param {import("./messages.js").Start} [options.start] the stream's configuration
   * @param {(message: Message, originS: number) => void} [options.onMessage] each event comes once;
   *   `originS` is the second of the stream from which the message's times count
   * @param {(state: State) => void} [options.onState]
   */
  constructor({ url, token, start = {}, onMessage = () => {}, onState = () => {} }) {
    this.token = token;
    this.start = { stream_id: randomId(), ...start };
    this.url = new URL("v1/stream", url);
    this.url.protocol = this.url.protocol.replace("http", "ws");
    // By which a load balancer leads every connection of the stream to the node that has it.
    this.url.searchParams.set("stream_id", this.start.stream_id);
    this.onMessage = onMessage;
    this.onState = onState;
    this.width = this.start.channels?.length ?? 1;
    this.second = (this.start.sample_rate ?? 16000) * this.width;
    this.backlog = new Backlog(BACKLOG_S * this.second);
  }

  get state() {
    return this.#state;
  }

  /** Seconds of sound that were given, and for which no result came. */
  get unjudgedS() {
    return (this.backlog.end - this.#judged) / this.second;
  }

  /** Connects, now: also where it waits to do so. */
  open() {
    if (this.#state.name !== "idle" && this.#state.name !== "waiting") return;
    clearTimeout(this.#retry);
    this.#rest ??= every(TICK_MS, () => this.#watch());
    const socket = (this.#socket = new WebSocket(this.url, subprotocols(this.token)));
    this.#fatal = this.#summary = null;
    this.#unansweredSince = 0;
    this.#triedAt = performance.now();
    socket.onopen = () => this.#greet();
    socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    this.#enter({ name: "connecting" });
  }

  /** @param {Int16Array} samples come next, channels interleaved; kept until they are judged */
  send(samples) {
    if (this.#stopped) return;
    this.backlog.append(samples);
    this.#pump();
  }

  /** @param {string} id comes back in `flushed`, behind the results of all that was heard */
  flush(id = randomId()) {
    this.#say({ type: "flush", id });
  }

  /**
   * No more audio comes.
   *
   * @returns {Promise<Summary | null>} after the last results; null where they could not be had
   */
  stop() {
    this.#stopped = true;
    const over = this.#state.name === "over" || this.#state.name === "idle";
    if (over) return Promise.resolve(null);
    this.#pump();
    return new Promise((resolve) => this.#stopping.push(resolve));
  }

  /** Ends the stream at once, without the last results. */
  close() {
    if (this.#state.name !== "over") this.#end({ name: "over", code: "closed" });
  }

  // --- one connection ---

  #greet() {
    const resume = { session_id: this.#session, last_seq: this.#seq };
    this.#say({ type: "start", encoding: "pcm_s16le", ...this.start, ...(this.#session && { resume }) });
  }

  /** @param {object} message */
  #say(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#socket.send(JSON.stringify(message));
    this.#saidAt = performance.now();
  }

  /** @param {Message} message */
  #hear(message) {
    this.#unansweredSince = 0;
    if (message.type === "started") this.#begin(message);
    else if (message.type === "summary") this.#summary = message;
    else if (message.type === "error" && message.fatal) this.#fatal = message;
    else if (message.type === "emotion" || message.type === "silence") {
      if (message.seq <= this.#seq) return; // heard before the connection broke
      this.#seq = message.seq;
      const judged = this.#origin + Math.round((message.end_s * this.second) / this.width) * this.width;
      this.#judged = Math.max(this.#judged, Math.min(judged, this.#cursor));
      this.backlog.forget(this.#judged);
    }
    this.onMessage(message, this.#origin / this.second);
    this.#pump();
  }

  /** @param {import("./messages.js").Started} started */
  #begin(started) {
    if (!started.resumed) this.#origin = this.backlog.first;
    this.#session = started.session_id;
    this.#cursor = Math.min(this.#origin + started.received_samples * this.width, this.backlog.end);
    const lost = this.backlog.first - (started.resumed ? this.#cursor : this.#judged);
    this.#stopSent = false;
    this.#openedAt = performance.now();
    this.#enter({ name: "open", lostS: Math.max(0, lost / this.second) });
  }

  /**
   * Sends what is kept and not sent; what was to be sent and is not kept any more is declared as a gap.
   */
  #pump() {
    if (this.#state.name !== "open" || !this.#socket || this.#stopSent) return;
    while (this.#cursor < this.backlog.first) {
      const lost = Math.min(this.backlog.first - this.#cursor, MAX_GAP_S * this.second);
      this.#say({ type: "gap", samples: Math.ceil(lost / this.width) });
      this.#cursor += lost;
    }
    while (this.#socket.bufferedAmount < MAX_UNSENT_BYTES) {
      const samples = this.backlog.from(this.#cursor)?.subarray(0, MAX_FRAME);
      if (!samples) break;
      // As bytes: the socket copies them, so that the frame stays ours.
      this.#socket.send(new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength).slice());
      this.#cursor += samples.length;
      this.#saidAt = performance.now();
      this.#unansweredSince ||= this.#saidAt;
    }
    if (this.#stopped && this.#cursor === this.backlog.end) {
      this.#stopSent = true;
      this.#say({ type: "stop" });
    }
  }

  #watch() {
    const now = performance.now();
    const { name } = this.#state;
    if (name === "connecting" && now - this.#triedAt > PATIENCE_MS) this.#closed(1006, "");
    if (name !== "open") return;
    if (this.#unansweredSince && now - this.#unansweredSince > DEAF_MS) this.#closed(1006, "");
    else if (now - this.#saidAt > KEEPALIVE_MS) this.#say({ type: "keepalive" });
    this.#pump();
  }

  // --- after it ---

  /**
   * @param {number} code
   * @param {string} reason
   */
  #closed(code, reason) {
    this.#abandon(); // one that hangs would tell much later that it is closed
    const fatal = this.#fatal;
    if (fatal?.code === "unknown_session" && this.#session) {
      this.#session = null;
      this.#seq = 0;
      this.#again("forgotten", "the server has forgotten the session: a new one begins");
    } else if (fatal?.code === "at_capacity") this.#again("at_capacity", fatal.message);
    else if (fatal) this.#end({ name: "over", code: fatal.code, reason: fatal.message });
    else if (this.#summary && (code === 1000 || this.#complete())) {
      this.#end({ name: "over", code: "done" });
    } else if (code === 1001) this.#again("draining", "the server is shutting down");
    else if (code === 1005 || code === 1006 || code === 1012 || code === 1013) {
      const known = this.#state.name === "open" || this.#session;
      if (known) this.#again("broken", reason || "no connection to the server");
      else this.#again("unreachable", reason || UNREACHABLE);
    } else this.#end({ name: "over", code: "closed", reason: reason || `closed with code ${code}` });
  }

  /** Whether a summary is that of the whole stream; a server that shuts down sends one, too. */
  #complete() {
    const heard = this.#origin + Math.round((this.#summary?.audio_s ?? 0) * this.second);
    return this.#stopped && heard >= this.backlog.end;
  }

  /**
   * Tries again, later from time to time.
   *
   * @param {string} code
   * @param {string} reason
   */
  #again(code, reason) {
    const held = this.#state.name === "open" && performance.now() - this.#openedAt > STEADY_MS;
    if (held || code === "forgotten") this.#backoff.reset();
    const waitMs = this.#backoff.next();
    this.#retry = Number(setTimeout(() => this.open(), waitMs));
    this.#enter({ name: "waiting", code, reason, waitMs });
  }

  #abandon() {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  /** @param {State} state */
  #end(state) {
    this.#abandon();
    clearTimeout(this.#retry);
    this.#rest?.();
    this.#stopped = true;
    this.#enter(state);
    for (const resolve of this.#stopping.splice(0)) resolve(this.#summary);
  }

  /** @param {State} state */
  #enter(state) {
    this.#state = state;
    this.onState(state);
  }
}

/** Unguessable, and made without `crypto.randomUUID`, which a page without HTTPS does not have. */
function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
