/**
 * The calls that a dashboard shows, out of the events of `/v1/monitor`. No DOM, and no clock of its own:
 * times are the server's, seconds since 1970.
 *
 * All that events make grow is bounded, whatever they say: the calls, each one's channels, history and
 * alerts.
 */
import { EMOTIONS } from "./emotions.js";
import { Recent, SILENT, UNKNOWN, Whole } from "./history.js";

/** @typedef {import("./monitor.js").Wire} Wire */
/** @typedef {import("./emotions.js").Emotion} Emotion */

export const MAX_CALLS = 1_000;
/** As many as a stream may have. */
export const MAX_TRACKS = 8;
export const MAX_ALERTS = 50;
/** For which calls that are over can be looked at. */
export const KEPT_S = 600;
/** For which they stay among the live ones. */
export const LINGER_S = 20;
/** Without a word for so long, a call is said to be quiet. */
export const QUIET_S = 10;
/** Without a word for so long, a call counts as over: a server that died says of none that it ended. */
export const LOST_S = 600;
/** The same after a gap, in which the end may have been. */
export const DOUBTFUL_S = 60;
/** The server tells an alert that holds again within so much of its channel's audio. */
export const RETOLD_S = 45;
/** Silence shorter than this is a pause: the call keeps its emotion. */
export const PAUSE_S = 5;
/** No window is longer. */
const LONGEST_WINDOW_S = 10;

/**
 * A rule that holds, or held, for a call.
 * @typedef {object} Alert
 * @property {string} id empty where nobody said
 * @property {string} rule
 * @property {string} channel
 * @property {string} message
 * @property {number} time when it was raised
 * @property {number} from_s in the call's audio
 * @property {number | null} to_s null while it holds
 * @property {number} told_s up to where in the audio it was told to hold
 * @property {boolean} doubtful whether a gap came since, in which it may have been cleared
 */

/** One channel of a call. */
export class Track {
  recent = new Recent();
  whole = new Whole();
  end_s = 0;
  /** Seconds of audio since the last speech. */
  silent_s = 0;
  /** @type {Emotion | null} the smoothed one */
  label = null;
  /** @type {readonly number[]} the smoothed shares of the eight */
  shares = EMOTIONS.map(() => 0);
  /** Whether events of the call were missed since the last one here. */
  jumped = true;

  /** @param {string} channel */
  constructor(channel) {
    this.channel = channel;
  }

  /** The share of what it sounds like, or of any emotion. @param {Emotion | null} label */
  share(label = this.label) {
    return label ? this.shares[EMOTIONS.indexOf(label)] : 0;
  }

  /**
   * @param {Wire} event `emotion` or `silence`
   * @param {number} hop_s seconds from window to window; 0 where nobody said
   */
  add(event, hop_s) {
    const to = seconds(event.end_s);
    if (to <= this.end_s) return;
    const window = to - Math.min(to, Math.max(seconds(event.start_s), to - LONGEST_WINDOW_S));
    const hop = hop_s || (this.jumped ? 1 : window);
    const unheard = to - this.end_s > 1.5 * hop;
    const from = unheard ? to - hop : this.end_s;
    if (unheard) this.recent.add({ from: this.end_s, to: from, kind: UNKNOWN, share: 0 });
    this.jumped = false;
    if (event.type === "emotion") this.#sounds(event, from, to);
    else this.#pauses(from, to);
    this.end_s = to;
  }

  /** @param {Wire} event @param {number} from @param {number} to */
  #sounds(event, from, to) {
    const { label, shares } = smoothed(event);
    if (!label) return;
    this.label = label;
    this.shares = shares;
    this.silent_s = 0;
    this.recent.add({ from, to, kind: EMOTIONS.indexOf(label), share: this.share() });
    this.whole.add(from, to, shares);
  }

  /** @param {number} from @param {number} to */
  #pauses(from, to) {
    this.silent_s += to - from;
    this.recent.add({ from, to, kind: SILENT, share: 0 });
    this.whole.add(from, to, null);
  }
}

/** A session, from its `started` to its `summary`. */
export class Call {
  /** @type {"live" | "ended" | "lost"} */
  state = "live";
  /** @type {Map<string, Track>} by channel */
  tracks = new Map();
  /** @type {Alert[]} the newest last */
  alerts = [];
  /** When it was heard of last, and when it ended. */
  heard_at = 0;
  ended_at = Infinity;
  /** Whether a gap came since it was heard of. */
  doubtful = false;
  hop_s = 0;
  #seq = 0;

  /** @param {string} session @param {string} stream */
  constructor(session, stream) {
    this.session = session;
    this.stream = stream;
  }

  get live() {
    return this.state === "live";
  }

  /** The channel that stands for the call, the customer's or the first. @returns {Track | undefined} */
  get track() {
    return this.tracks.get("customer") ?? this.tracks.values().next().value;
  }

  /** Seconds of audio. */
  get duration_s() {
    let longest = 0;
    for (const track of this.tracks.values()) longest = Math.max(longest, track.end_s);
    return longest;
  }

  /** What it sounds like now; null while nothing was judged. @returns {Emotion | "silent" | null} */
  get sounds() {
    const track = this.track;
    if (!track) return null;
    return track.silent_s > PAUSE_S || (!track.label && track.silent_s) ? "silent" : track.label;
  }

  /** The alert that holds and came last. */
  get alert() {
    return this.live ? this.alerts.findLast((alert) => alert.to_s === null) : undefined;
  }

  /** Events were missed: the call's end, or its alerts', may have been among them. */
  doubt() {
    this.doubtful = true;
    for (const alert of this.alerts) alert.doubtful ||= alert.to_s === null;
  }

  /** @param {Wire} event @param {number} time */
  apply(event, time) {
    this.heard_at = Math.max(this.heard_at, time);
    this.doubtful = false;
    if (event.type === "started") this.hop_s = seconds(event.hop_s);
    else if (event.type === "summary") this.#end(time);
    else if (event.type === "alert") this.#alert(event, time);
    else this.#hear(event);
  }

  /** @param {Wire} event */
  #hear(event) {
    const seq = Number(event.seq);
    if (!(seq > this.#seq)) return;
    if (this.state === "lost") this.#revive();
    const channel = String(event.channel);
    let track = this.tracks.get(channel);
    if (!track) {
      if (this.tracks.size >= MAX_TRACKS) return;
      this.tracks.set(channel, (track = new Track(channel)));
    }
    if (seq > this.#seq + 1) for (const other of this.tracks.values()) other.jumped = true;
    track.add(event, this.hop_s);
    this.#seq = seq;
    for (const alert of this.alerts) {
      const untold_s = alert.channel === channel && alert.doubtful ? track.end_s - alert.told_s : 0;
      if (alert.to_s === null && untold_s > RETOLD_S) alert.to_s = alert.told_s;
    }
  }

  /**
   * Comes when a rule begins to hold, again and again while it does, and when it no longer does.
   *
   * @param {Wire} event
   * @param {number} time
   */
  #alert(event, time) {
    const { rule, channel } = { rule: String(event.rule), channel: String(event.channel ?? "") };
    const now_s = seconds(event.at_s);
    const held = this.alerts.find((a) => a.to_s === null && a.rule === rule && a.channel === channel);
    if (event.state === "cleared") {
      if (held) held.to_s = now_s;
      return;
    }
    const id = String(event.id ?? "");
    const end_s = this.tracks.get(channel)?.end_s ?? 0;
    const told_s = Math.max(now_s, end_s);
    const known = id ? this.alerts.find((alert) => alert.id === id) : held;
    if (known) {
      // Told again. One that was taken for over, unsurely, was not.
      if (known === held || (known.doubtful && this.live)) {
        Object.assign(known, { told_s, to_s: null, doubtful: false });
      }
      return;
    }
    if (held) held.to_s = held.told_s; // its end was missed
    const message = String(event.message ?? rule);
    const from_s = Number.isFinite(event.since_s) ? seconds(event.since_s) : now_s;
    const raised = time - (told_s - now_s); // before this telling, where it is told again
    const alert = { id, rule, channel, message, time: raised, from_s, to_s: null, told_s };
    this.alerts.push({ ...alert, doubtful: false });
    if (this.alerts.length > MAX_ALERTS) this.alerts.shift();
  }

  /** @param {number} time */
  #end(time, state = /** @type {"ended" | "lost"} */ ("ended")) {
    this.state = state;
    this.ended_at = time;
    for (const alert of this.alerts) alert.to_s ??= this.duration_s;
  }

  #revive() {
    this.state = "live";
    this.ended_at = Infinity;
  }

  /** Whether it was not heard of for so long that it counts as over, from now on. @param {number} now */
  lapse(now) {
    if (!this.live || now - this.heard_at <= (this.doubtful ? DOUBTFUL_S : LOST_S)) return false;
    this.#end(now, "lost");
    return true;
  }
}

export class Calls {
  /** @type {Map<string, Call>} by session; the one that was heard of first comes first */
  all = new Map();

  /** @param {Wire} event @returns {Call | undefined} the call that it is of, where that is known */
  of(event) {
    return this.all.get(sessionOf(event));
  }

  /**
   * Takes an event.
   *
   * @param {Wire} event
   * @returns {Call | null} the call that it is of; null where it is of none
   */
  apply(event) {
    if (event.type === "gap") this.#doubt();
    const session = sessionOf(event);
    if (!session) return null;
    const time = seconds(event.time);
    const call = this.all.get(session) ?? this.#add(session, String(event.stream_id ?? session));
    call.apply(event, time);
    return call;
  }

  /**
   * Takes what has been over for long out, and what was not heard of for long for over.
   *
   * @param {number} now
   * @returns {Call[]} those that changed or are gone
   */
  sweep(now) {
    const changed = [];
    for (const [session, call] of this.all) {
      if (call.lapse(now)) changed.push(call);
      if (now - call.ended_at > KEPT_S) {
        this.all.delete(session);
        changed.push(call);
      }
    }
    return changed;
  }

  #doubt() {
    for (const call of this.all.values()) call.doubt();
  }

  /** @param {string} session @param {string} stream */
  #add(session, stream) {
    if (this.all.size >= MAX_CALLS) this.all.delete(this.#least());
    const call = new Call(session, stream);
    this.all.set(session, call);
    return call;
  }

  /** The session that is missed least: over, else not heard of for longest. */
  #least() {
    let least = /** @type {Call | null} */ (null);
    for (const call of this.all.values()) {
      if (!least || (call.live === least.live ? call.heard_at < least.heard_at : least.live))
        least = call;
    }
    return least?.session ?? "";
  }
}

/** The server's clock as this machine sees it: its events' times, the freshest of the last minute. */
export class Clock {
  #offset_s = Infinity;
  #next_s = Infinity;
  #turned_s = 0;

  /** @param {number} time of an event, by the server's clock @param {number} here_s this machine's */
  hear(time, here_s) {
    const offset = here_s - time;
    if (!Number.isFinite(offset)) return;
    // Clocks are set now and then: an offset counts for one to two minutes.
    if (Math.abs(here_s - this.#turned_s) > 60) {
      this.#offset_s = this.#next_s;
      this.#next_s = Infinity;
      this.#turned_s = here_s;
    }
    this.#next_s = Math.min(this.#next_s, offset);
    this.#offset_s = Math.min(this.#offset_s, offset);
  }

  /** How much this machine's clock is ahead, delay included; Infinity where nothing was heard. */
  get offset_s() {
    return this.#offset_s;
  }

  /** @param {number} here_s @returns {number} seconds since 1970, by the server's clock */
  now(here_s) {
    return Number.isFinite(this.#offset_s) ? here_s - this.#offset_s : here_s;
  }
}

/** @param {Wire} event @returns {string} empty where it is of no call */
function sessionOf({ type, id, session_id }) {
  if (!["started", "emotion", "silence", "summary", "alert"].includes(type)) return "";
  if (typeof session_id === "string") return session_id;
  return typeof id === "string" ? id.slice(0, id.lastIndexOf(":")) : "";
}

/** @param {unknown} value @returns {number} 0 or more */
function seconds(value) {
  return typeof value === "number" && value > 0 && Number.isFinite(value) ? value : 0;
}

/** @param {Wire} event @returns {{label: Emotion | null, shares: number[]}} */
function smoothed(event) {
  const { label, probabilities } = /** @type {Record<string, any>} */ (event.smoothed ?? {});
  const known = EMOTIONS.find((emotion) => emotion === label) ?? null;
  const shares = EMOTIONS.map((emotion) => seconds(probabilities?.[emotion]));
  const sum = shares.reduce((all, share) => all + share, 0) || 1; // 1 but for the wire's rounding
  return { label: known, shares: shares.map((share) => share / sum) };
}
