/** The dialog with a whole call. */
import { nameOf, signOf } from "./card.js";
import { drawChart } from "./chart.js";
import { find, make, write } from "./dom.js";
import { EMOTIONS, SIGNS } from "./emotions.js";
import { clock, many, percent, timeOfDay } from "./format.js";
import { SILENT, UNKNOWN } from "./history.js";
import { palette } from "./sparkline.js";

/** @typedef {import("./calls.js").Call} Call */
/** @typedef {import("./calls.js").Track} Track */

const CHART_HEIGHT = 220;

export class Panel {
  /** @type {Call | null} */
  call = null;
  #channel = "";
  /** Whether the moment that is looked at moves with the call. */
  #follows = true;
  #width = 0;
  #dialog = find(document, "#panel", HTMLDialogElement);
  #chart = find(document, "#chart", HTMLCanvasElement);
  #moment = find(document, "#moment", HTMLInputElement);
  #channels = find(document, "#panel-channel", HTMLSelectElement);
  #shares = EMOTIONS.map((label) => shareOf(label));
  #told = "";

  /** @param {() => void} wanted to draw the panel soon */
  constructor(wanted) {
    this.wanted = wanted;
    find(document, "#shares", HTMLDListElement).append(...this.#shares.map(({ row }) => row));
    find(document, "#panel-close", HTMLButtonElement).onclick = () => this.#dialog.close();
    this.#dialog.onclose = () => (this.call = null);
    this.#dialog.onclick = (event) => event.target === this.#dialog && this.#dialog.close();
    this.#moment.oninput = () => {
      this.#follows = this.#moment.value === this.#moment.max;
      this.wanted();
    };
    this.#chart.onpointermove = this.#chart.onpointerdown = (event) => this.#point(event);
    this.#channels.onchange = () => {
      this.#channel = this.#channels.value;
      this.wanted();
    };
    new ResizeObserver(() => this.#resized()).observe(this.#chart);
  }

  /** @param {Call} call */
  open(call) {
    this.call = call;
    this.#channel = call.track?.channel ?? "";
    this.#follows = true;
    this.#told = "";
    this.#dialog.showModal();
    this.#width = this.#chart.clientWidth;
    this.draw();
  }

  /** Shows what the call is now. */
  draw() {
    const { call } = this;
    if (!call) return;
    const track = call.tracks.get(this.#channel) ?? call.track;
    const panel = this.#dialog.firstElementChild;
    if (panel instanceof HTMLElement) panel.dataset.sounds = call.sounds ?? "";
    text("#panel-name", call.stream);
    text("#panel-state", described(call));
    text("#panel-sign", signOf(call.sounds));
    text("#panel-feel", nameOf(call.sounds));
    const speaks = call.sounds && call.sounds !== "silent" && call.track;
    text("#panel-share", speaks ? percent(speaks.share()) : "");
    this.#listChannels(call);
    this.#listAlerts(call);
    if (track) this.#drawTrack(call, track);
  }

  /** @param {Call} call @param {Track} track */
  #drawTrack(call, track) {
    const end_s = track.end_s;
    this.#moment.max = String(Math.floor(end_s));
    if (this.#follows) this.#moment.value = this.#moment.max;
    const at_s = Number(this.#moment.value);
    const view = { width: this.#width, height: CHART_HEIGHT, end_s, at_s };
    const alerts = call.alerts.filter(({ channel }) => !channel || channel === track.channel);
    drawChart(this.#chart, track.whole, alerts, view, palette());
    const { shares, heard_s, silent_s } = track.whole.total();
    shares.forEach((share, i) => showShare(this.#shares[i], share));
    const [speech, silence] = [Math.round(heard_s), Math.round(silent_s)];
    const unheard = Math.max(0, Math.round(end_s) - speech - silence);
    const known = `${clock(speech)} of speech, ${clock(silence)} of silence`;
    this.#chart.setAttribute("aria-label", `The call so far: ${known}, ${clock(unheard)} not heard`);
    const moment = at(track, at_s);
    text("#moment-text", `${clock(at_s)}  ${moment}`);
    this.#moment.setAttribute("aria-valuetext", `${clock(at_s)}: ${moment}`);
  }

  /** @param {Call} call */
  #listChannels(call) {
    const names = [...call.tracks.keys()];
    find(document, "#panel-channels", HTMLElement).hidden = names.length < 2;
    // By name: the call looked at before may have had as many channels.
    if (names.join("\n") !== Array.from(this.#channels.options, ({ value }) => value).join("\n")) {
      this.#channels.replaceChildren(...names.map((name) => make("option", "", name)));
    }
    this.#channels.value = this.#channel;
  }

  /** @param {Call} call */
  #listAlerts(call) {
    const lines = call.alerts.map(({ message, from_s, to_s, time, channel }) => {
      const until = to_s === null ? "holds now" : `until ${clock(to_s)}`;
      const where = channel && channel !== call.track?.channel ? `, ${channel}` : "";
      return `▲ ${message}: from ${clock(from_s)}, ${until} (raised at ${timeOfDay(time)}${where})`;
    });
    const all = lines.reverse().join("\n");
    if (all === this.#told && all) return;
    this.#told = all;
    const items = lines.length ? lines : ["None so far."];
    find(document, "#panel-alerts", HTMLUListElement).replaceChildren(
      ...items.map((line) => make("li", "", line)),
    );
  }

  /** @param {PointerEvent} event */
  #point(event) {
    const share = event.offsetX / Math.max(1, this.#width);
    this.#moment.value = String(Math.floor(share * Number(this.#moment.max)));
    this.#follows = this.#moment.value === this.#moment.max;
    this.wanted();
  }

  #resized() {
    this.#width = this.#chart.clientWidth;
    this.wanted();
  }
}

/** @typedef {{row: HTMLElement, bar: HTMLElement, text: HTMLElement}} Share */

/** A line of the table of shares. @param {import("./emotions.js").Emotion} label @returns {Share} */
function shareOf(label) {
  const row = make("div");
  row.dataset.sounds = label;
  const [name, value, bar] = [make("dt"), make("dd"), make("span", "bar")];
  const [sign, number] = [make("span", "sign", SIGNS[label]), make("span", "number")];
  sign.setAttribute("aria-hidden", "true");
  name.append(sign, label);
  value.append(bar, number);
  row.append(name, value);
  return { row, bar, text: number };
}

/** @param {Share} share @param {number} value 0 to 1 */
function showShare({ bar, text }, value) {
  bar.style.setProperty("--share", value.toFixed(3));
  write(text, percent(value));
}

/** What a moment sounded like. @param {Track} track @param {number} at_s */
function at(track, at_s) {
  const index = Math.min(track.whole.count - 1, Math.floor(at_s / track.whole.step_s));
  if (index < 0) return "nothing yet";
  const { kind, shares } = track.whole.at(index);
  if (kind === UNKNOWN) return "not heard by this page";
  if (kind === SILENT) return "silence";
  const order = [...EMOTIONS.keys()].sort((a, b) => shares[b] - shares[a]).slice(0, 3);
  return order.map((i) => `${EMOTIONS[i]} ${percent(shares[i])}`).join(", ");
}

/** @param {Call} call */
function described(call) {
  const state = call.live ? "Live" : call.state === "ended" ? "Ended" : "Over: nothing heard of it";
  const alerts = call.alerts.length ? `, ${many(call.alerts.length, "alert")}` : "";
  return `${state}, ${clock(call.duration_s)}${alerts}, session ${call.session.slice(0, 8)}`;
}

/** @param {string} selector @param {string} value */
function text(selector, value) {
  write(find(document, selector, HTMLElement), value);
}
