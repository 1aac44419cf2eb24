/** The page: a source of sound, a stream to the server, and what is shown of it. */
import { SourceError, openMicrophone, openRecording } from "./capture.js";
import { EmotionStream } from "./client.js";
import { Secret } from "./dom.js";
import { History, Narrator, Playhead } from "./past.js";
import { every } from "./pulse.js";
import { Scroll } from "./scroll.js";
import { Timeline } from "./timeline.js";
import { trouble } from "./troubles.js";
import { View, sounds } from "./view.js";

/** @typedef {import("./capture.js").Source} Source */
/** @typedef {import("./messages.js").Message} Message */

const HOP_S = 0.5;
const LAST_RESULTS_MS = 5000; // for what is left after `stop`
const PAUSED_MS = 2000; // without a frame: the browser may have held the microphone back
const STARVED_MS = 4000; // without a frame, while the page is in front
const SETTLED_MS = 1000; // in which frames that are only late have come
/** Troubles that a connection mends by being there. */
const PASSING = ["at_capacity", "unreachable", "broken", "draining", "forgotten"];

const view = new View();
const history = new History();
const playhead = new Playhead();
const narrator = new Narrator();
const token = new Secret("emotion-monitor.token");
const scroll = new Scroll(new Timeline(view.canvas, history), view, playhead);

/** @type {Run | null} */
let run = null;
/** @type {(() => Promise<Source>) | null} */
let lastSource = null; // opened again once a token is given
/** @type {import("./troubles.js").Trouble | null} */
let shown = null;
let attempts = 0; // to start

/** One source, streamed from its first sample to its last result. */
class Run {
  /** @param {Source} source */
  constructor(source) {
    this.source = source;
    this.sinceS = history.endS > 0 ? history.endS + 1 : 0;
    this.samples = 0;
    this.heardAt = 0; // when the last frame came
    this.missingS = 0; // by which the wall clock is ahead of the sound, and a constant
    this.failures = 0;
    this.sessions = 0;
    this.skipped = 0;
    this.ended = false;
    this.starved = false;
    this.left = false;
    this.rest = () => {};
    /** @type {Promise<void> | null} */
    this.ending = null;
    this.stream = new EmotionStream({
      url: new URL(".", location.href),
      token: token.value,
      start: { sample_rate: source.sampleRate, hop_s: HOP_S },
      onMessage: (message, originS) => this.#hear(message, originS),
      onState: (state) => this.#state(state),
    });
  }

  begin() {
    const { source } = this;
    if (this.sinceS > 0) history.mark(this.sinceS, source.durationS ? "recording" : "microphone");
    playhead.reset();
    this.stream.open();
    source.begin({
      onFrame: (frame) => this.#frame(frame),
      onEnd: (code) => void this.end(code === "finished" ? null : code),
      onMute: (muted) => (muted ? show("muted") : clear(["muted"])),
    });
    this.heardAt = performance.now();
    this.rest = every(1000, () => this.#look());
    view.phase("running", described(source));
    view.word("none", "listening", "…", "the first estimate comes after a second of sound");
    scroll.start();
  }

  /** Says where no sound comes any more: "Live" would not be true. */
  #look() {
    const since = performance.now() - this.heardAt;
    if (this.ended || this.starved || document.hidden || since < STARVED_MS) return;
    this.starved = true;
    if (this.stream.state.name === "open") view.connection("waiting", "No sound comes");
    if (!shown) show("starved"); // that it is muted, for one, says more
  }

  /** @param {Int16Array} frame */
  #frame(frame) {
    const now = performance.now();
    if (this.starved) {
      this.starved = false;
      clear(["starved"]);
      if (this.stream.state.name === "open") view.connection("open", "Connected");
    }
    if (this.samples > 0 && now - this.heardAt > PAUSED_MS) {
      const before = this.missingS;
      setTimeout(() => this.#paused(this.missingS - before), SETTLED_MS);
    }
    this.heardAt = now;
    this.samples += frame.length;
    const soundS = this.samples / this.source.sampleRate;
    this.missingS = now / 1000 - soundS;
    playhead.advance(this.sinceS + soundS, now / 1000);
    scroll.hear(frame);
    this.stream.send(frame);
  }

  /**
   * @param {number} lostS of sound that never came, rather than late: a page that was busy misses none
   */
  #paused(lostS) {
    if (lostS > 1 && !this.ended) show("paused", `${Math.round(lostS)} s`);
  }

  /**
   * @param {Message} message
   * @param {number} originS
   */
  #hear(message, originS) {
    history.record(message);
    view.saves(history.shortness);
    if (message.type === "started") this.#started(message, originS);
    else if (message.type === "warning" && message.code === "skipped_windows") {
      this.skipped += message.count ?? 0;
    } else if (message.type === "emotion" || message.type === "silence") {
      const now = performance.now() / 1000;
      const moment = history.add(message, this.sinceS + originS, HOP_S);
      view.judged(moment);
      const { label } = moment;
      const said = narrator.hear(label ? `It ${sounds(label)} ${label}` : "Silence", now);
      if (said) view.announce(said);
      const behindMs = Math.max(0, (playhead.at(now) - moment.toS) * 1000);
      const skipped = this.skipped > 0 ? ` · ${this.skipped} windows skipped` : "";
      if (!this.starved) view.connection("open", `Live · answers after ${behind(behindMs)}${skipped}`);
      scroll.news();
    }
  }

  /**
   * @param {import("./messages.js").Started} started
   * @param {number} originS
   */
  #started(started, originS) {
    this.sessions += started.resumed ? 0 : 1;
    if (!started.resumed && this.sessions > 1) history.mark(this.sinceS + originS, "new session");
    view.about({
      Model: `${started.model.name} ${started.model.version}`,
      Emotions: started.model.labels.join(", "),
      Window: `${started.window_s} s, a new estimate every ${started.hop_s} s`,
      Sound: `${started.sample_rate / 1000} kHz, one channel`,
      Voice: `its usual sound is ${started.adapt ? "learnt while it speaks" : "not learnt"}`,
      ...facts,
    });
  }

  /** @param {import("./client.js").State} state */
  #state({ name, code = "", reason = "", waitMs = 0, lostS = 0 }) {
    if (name === "connecting") view.connection("busy", "Connecting …");
    if (name === "open") {
      this.failures = 0;
      view.connection("open", "Connected");
      clear(PASSING);
      const now = playhead.at(performance.now() / 1000);
      if (lostS >= 0.1) history.mark(now, `${lostS.toFixed(1)} s lost`);
    }
    if (name === "waiting") {
      this.failures += 1;
      view.connection("waiting", `Connecting again in ${Math.ceil(waitMs / 1000)} s`);
      // One break that is mended at once is the lamp's to tell; more deserve words.
      if (this.failures === 1 && code !== "at_capacity" && code !== "unreachable") return;
      show(code, reason);
      view.past();
    }
    if (name === "over" && code !== "done" && !this.ended) {
      const refused = code === "unauthorized" && token.value;
      if (refused) token.value = "";
      void this.end(refused ? "refused_token" : code, reason);
    }
  }

  /** The page goes away: at once, and so that whoever comes back to it finds no trouble. */
  leave() {
    this.left = true;
    void this.end();
    this.stream.close(); // its slot is free for others
  }

  /**
   * No more sound: what is left is judged, then the page rests.
   *
   * @param {string | null} code of what went wrong
   * @param {string} [detail]
   */
  end(code = null, detail = "") {
    // Whoever asks again waits for the same end: nothing else may begin before it.
    return (this.ending ??= this.#end(code, detail));
  }

  /**
   * @param {string | null} code
   * @param {string} detail
   */
  async #end(code, detail) {
    this.ended = true;
    this.rest();
    this.source.close();
    clear([...PASSING, "muted", "starved"]);
    if (code) show(code, detail);
    const late = new Promise((resolve) => setTimeout(resolve, LAST_RESULTS_MS, null));
    const summary = await Promise.race([this.stream.stop(), late]);
    this.stream.close();
    scroll.stop();
    run = null;
    clear(PASSING); // of what was tried meanwhile
    const { unjudgedS } = this.stream;
    if (!summary && !code && !this.left && unjudgedS >= 1) {
      show("unjudged", `${Math.round(unjudgedS)} s were not judged`);
    }
    view.phase("idle");
    view.connection("idle", "Not connected");
    if (summary) view.announce(`Stopped after ${Math.round(summary.audio_s)} seconds`);
    if (view.main.dataset.emotion === "none") view.forget();
    else view.past();
  }
}

/** @type {Record<string, string>} */
let facts = {};

/** @param {() => Promise<Source>} open */
async function start(open) {
  lastSource = open;
  const mine = ++attempts;
  clear();
  await run?.end(); // what it has to say stays
  if (mine !== attempts) return;
  view.phase("busy");
  try {
    const source = await open();
    if (mine !== attempts) return source.close(); // something else was chosen meanwhile
    run = new Run(source);
    run.begin();
  } catch (error) {
    if (mine !== attempts) return;
    view.phase("idle");
    if (!(error instanceof SourceError)) throw error;
    show(error.code, error.detail);
  }
}

/**
 * @param {string} code
 * @param {string} [detail]
 */
function show(code, detail) {
  const next = trouble(code, detail);
  if (shown?.text === next.text) return; // said already: an alert is not read out twice
  shown = next;
  view.trouble(shown);
}

/** @param {string[]} [codes] which troubles are over; without any, all */
function clear(codes) {
  if (!shown || (codes && !codes.includes(shown.code))) return;
  shown = null;
  view.trouble(null);
}

function goOn() {
  if (shown?.way === "retry") run?.stream.open();
  else void start(lastSource ?? openMicrophone);
}

/** @param {File | null | undefined} file */
function listenTo(file) {
  if (file) void start(() => openRecording(file));
}

function saveLog() {
  const blob = new Blob([JSON.stringify(history.saved(), null, 1)], { type: "application/json" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = "emotions.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** What the server tells about itself; one that wants a token says so before anybody speaks in vain. */
async function ask() {
  /** @type {Record<string, string>} */
  const headers = token.value ? { Authorization: `Bearer ${token.value}` } : {};
  const answer = await fetch("v1/info", { headers }).catch(() => null);
  if (answer?.status === 401 && !token.value) return show("unauthorized");
  if (!answer?.ok) return;
  const info = await answer.json();
  const threads = `${info.threads} ${info.threads === 1 ? "thread" : "threads"}`;
  facts = {
    Licence: info.model.licence ?? "",
    Server: `${info.server} ${info.version}`.trim() + `, ${info.device}, ${threads}`,
    Sessions: `${info.sessions.active} of ${info.sessions.max} taken when this page was opened`,
  };
  view.about({ Model: `${info.model.name} ${info.model.version}`, ...facts });
}

/** @param {Source} source */
function described({ name, sampleRate, durationS }) {
  const length = durationS ? `, ${Math.round(durationS)} s` : "";
  return `${name}, ${sampleRate / 1000} kHz${length}`;
}

/** @param {number} ms */
function behind(ms) {
  return ms < 1000 ? `${Math.round(ms / 10) * 10} ms` : `${(ms / 1000).toFixed(1)} s`;
}

view.microphone.onclick = () => void start(openMicrophone);
view.stop.onclick = () => void run?.end();
view.way.onclick = goOn;
view.dismiss.onclick = () => clear();
view.save.onclick = saveLog;
view.file.onchange = () => {
  listenTo(view.file.files?.[0]);
  view.file.value = ""; // so that the same file can be chosen again
};
view.tokenForm.onsubmit = (event) => {
  event.preventDefault();
  token.value = view.token.value.trim();
  view.token.value = "";
  clear();
  void ask();
  if (lastSource) void start(lastSource);
};
document.ondragover = (event) => {
  event.preventDefault();
  view.drop.hidden = false;
};
document.ondragleave = (event) => {
  if (!event.relatedTarget) view.drop.hidden = true;
};
document.ondrop = (event) => {
  event.preventDefault();
  view.drop.hidden = true;
  listenTo(event.dataTransfer?.files[0]);
};
addEventListener("online", () => run?.stream.open());
addEventListener("pagehide", () => run?.leave());
view.phase("idle");
void ask();
