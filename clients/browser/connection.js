/** How it stands with the server: the lamp, the token, and what to do where nothing is to be seen. */
import { Secret, find, write } from "./dom.js";
import { timeOfDay } from "./format.js";
import { Monitor } from "./monitor.js";

/** @typedef {import("./monitor.js").State} State */
/** @typedef {import("./monitor.js").Wire} Wire */

const TOKEN = "emotion-monitor.dashboard-token"; // another role than the other page's
/** A connection that is made anew so fast is not worth a word. */
const BRIEF_MS = 1_000;

export class Connection {
  /** @type {State} */
  state = { name: "connecting", message: "", retry_ms: 0 };
  /** Whether events of the past still come. */
  behind = false;
  #retry_at = 0;
  #since = 0;
  #shown = "";
  #timer = 0;
  #token = new Secret(TOKEN);
  #form = find(document, "#token-form", HTMLFormElement);
  #lamp = find(document, "#connection", HTMLElement);

  /**
   * @param {(event: Wire) => void} heard
   * @param {() => void} changed called when the connection's state is another
   */
  constructor(heard, changed) {
    this.changed = changed;
    const url = new URL("v1/monitor", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    url.search = "";
    const streams = new URLSearchParams(location.search).get("streams") || "*";
    this.monitor = new Monitor(url, {
      heard,
      changed: (state) => this.#become(state),
      token: this.#token.value,
      streams,
    });
  }

  open() {
    this.monitor.connect();
    setInterval(() => this.#show(), 500);
    window.addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
    find(document, "#retry", HTMLButtonElement).onclick = () => this.monitor.connect();
    this.#form.onsubmit = (event) => {
      event.preventDefault();
      const token = find(document, "#token", HTMLInputElement).value.trim();
      this.#token.value = token;
      this.monitor.authorize(token);
    };
  }

  /** Says why no call is shown, and what to do. @param {number} shown @param {number} known */
  explain(shown, known) {
    const empty = find(document, "#empty", HTMLElement);
    empty.hidden = shown > 0 || this.state.name === "unauthorized";
    if (empty.hidden) return;
    const [title, text] = this.#why(known);
    write(find(document, "#empty-title", HTMLElement), title);
    write(find(document, "#empty-text", HTMLElement), text);
    find(document, "#empty-how", HTMLElement).hidden = this.state.name !== "live" || known > 0;
    find(document, "#everything", HTMLElement).hidden = !known;
  }

  /** @param {number} known */
  #why(known) {
    if (known)
      return ["No call is like that", "Calls are known, but none of them fits what you asked for."];
    const { name, message } = this.state;
    if (name === "live") {
      return ["No calls yet", "A call appears here as soon as its stream begins."];
    }
    if (name === "connecting")
      return ["Connecting…", "Calls appear here as soon as the server answers."];
    if (name === "refused")
      return ["The server refused", `${message}. Look at the address, then reload.`];
    return ["No connection", `${capital(message)}. Is it running? This page keeps trying.`];
  }

  /** The machine woke up, or the network is back. */
  #hurry() {
    if (this.state.name === "waiting") this.monitor.connect();
  }

  /** @param {State} state */
  #become(state) {
    // Attempt after attempt: for who looks or listens that is one wait, and its button stays.
    if (state.name === "connecting" && this.state.name === "waiting") return;
    this.state = state;
    this.#retry_at = performance.now() + state.retry_ms;
    if (state.name === "live") this.#since = 0;
    else this.#since ||= performance.now();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#show(), this.#brief ? BRIEF_MS : 0);
  }

  get #brief() {
    return this.state.name === "connecting" && this.#shown === "live";
  }

  #show() {
    const { name } = this.state;
    if (this.#brief && performance.now() - this.#since < BRIEF_MS) return;
    write(find(document, "#connection-text", HTMLElement), this.#text());
    this.#lamp.dataset.state = this.behind && name === "live" ? "behind" : name;
    if (name === this.#shown) return;
    this.#shown = name;
    document.body.classList.toggle("stale", name !== "live");
    find(document, "#retry", HTMLElement).hidden = name !== "waiting";
    this.#ask(name === "unauthorized");
    this.changed();
  }

  #text() {
    const { name, message } = this.state;
    if (name === "live") return this.behind ? "Catching up…" : "Live";
    if (name === "unauthorized") return "A token is needed";
    if (name === "refused") return capital(message);
    const lost = this.#lost_at();
    const asOf = lost ? `As of ${lost}. ` : "";
    if (name === "connecting") return `${asOf}Connecting…`;
    return `${asOf}${capital(message)}, trying again`;
  }

  /** When the calls were seen last, where they were. */
  #lost_at() {
    if (!this.#since || this.monitor.since === "0-0") return "";
    return timeOfDay((Date.now() - (performance.now() - this.#since)) / 1000);
  }

  /** @param {boolean} wanted */
  #ask(wanted) {
    const field = find(document, "#token", HTMLInputElement);
    const again = wanted && this.#token.value;
    this.#form.hidden = !wanted;
    if (again) {
      this.#token.value = "";
      const why =
        "The server did not take that token. One with the role monitor is needed: ask its operator.";
      write(find(document, "#token-why", HTMLElement), why);
    }
    if (wanted) field.focus();
    else field.value = "";
  }
}

/** @param {string} text */
function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
