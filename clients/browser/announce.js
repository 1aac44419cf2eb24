/** Says alerts to who cannot see them, several in one sentence. */
import { find } from "./dom.js";

/** @typedef {import("./calls.js").Call} Call */

const EVERY_MS = 1_000;
/** Named one by one; of more, only the number is said. */
const MOST = 3;

export class Announcer {
  /** @type {Map<Call, string>} */
  #raised = new Map();
  /** @type {Set<Call>} */
  #cleared = new Set();
  #timer = 0;
  #alarm = find(document, "#alarm", HTMLElement);
  #news = find(document, "#news", HTMLElement);

  /** @param {Call} call whose alert was raised or cleared just now */
  tell(call) {
    const alert = call.alert;
    if (alert) this.#raised.set(call, alert.message);
    else this.#cleared.add(call);
    if (alert) this.#cleared.delete(call);
    else this.#raised.delete(call);
    this.#timer ||= setTimeout(() => this.#say(), EVERY_MS);
  }

  #say() {
    this.#timer = 0;
    const [raised, cleared] = [[...this.#raised], [...this.#cleared]];
    this.#raised.clear();
    this.#cleared.clear();
    if (raised.length > MOST) this.#alarm.textContent = `Alerts on ${raised.length} calls.`;
    else if (raised.length) {
      this.#alarm.textContent = raised
        .map(([call, why]) => `Alert on ${call.stream}: ${why}.`)
        .join(" ");
    }
    const names = cleared.map((call) => call.stream).join(", ");
    const over = cleared.length > MOST ? `${cleared.length} calls` : names;
    if (cleared.length) this.#news.textContent = `No alert any more on ${over}.`;
  }
}
