/**
 * The dashboard: follows the calls, and shows them.
 *
 *     Monitor --events--> Calls --marks--> Board --one frame--> cards, sparklines
 *
 * Address: `/dashboard?streams=call-*` follows only streams that match.
 */
import { Announcer } from "./announce.js";
import { Board, MAX_CARDS } from "./board.js";
import { Calls, Clock } from "./calls.js";
import { Connection } from "./connection.js";
import { Controls } from "./controls.js";
import { find, write } from "./dom.js";
import { many, timeOfDay } from "./format.js";
import { chosen, counted } from "./order.js";
import { Panel } from "./panel.js";

/** @typedef {import("./monitor.js").Wire} Wire */

/** From one look at the order, the counts and the calls that went quiet to the next. */
const EVERY_MS = 1_000;
/** From one look at whether the events are those of now to the next. */
const LOOK_MS = 250;
/** An alert older than this is shown, and no longer said. */
const NEWS_S = 60;

const calls = new Calls();
const clock = new Clock();
const announcer = new Announcer();
const board = new Board(find(document, "#board", HTMLUListElement), {
  opened: (call) => panel.open(call),
  wanted: () => frame(),
  now: () => now(),
});
const panel = new Panel(() => frame());
const controls = new Controls(() => arrange());
const connection = new Connection(hear, () => arrange());
const missed = find(document, "#missed", HTMLElement);
let framed = false;
let arranging = 0;
let offset_s = Infinity;

/** Seconds since 1970, by the server's clock. */
const now = () => clock.now(Date.now() / 1000);

/** @param {Wire} event */
function hear(event) {
  if (typeof event.time === "number") clock.hear(event.time, Date.now() / 1000);
  const known = calls.all.size;
  const before = event.type === "alert" ? calls.of(event)?.alert : undefined;
  const call = calls.apply(event);
  if (event.type === "gap") tellGap(event);
  if (!call) return;
  board.touch(call);
  if (panel.call === call) frame();
  const news = event.type === "alert" && call.alert !== before;
  if (news && !connection.behind) announcer.tell(call);
  if (calls.all.size !== known || news || event.type === "summary") soon();
}

/** @param {Wire} gap */
function tellGap({ count }) {
  const what = typeof count === "number" ? many(count, "event") : "Some events (nobody knows how many)";
  const text = `${what} did not reach this page before ${timeOfDay(now())}; their places are hatched.`;
  write(find(document, "#missed-text", HTMLElement), text);
  missed.hidden = false;
  for (const call of calls.all.values()) board.touch(call);
}

/** Draws what changed, once a frame; less often while the past rushes by. */
function frame() {
  if (framed) return;
  framed = true;
  const draw = () =>
    requestAnimationFrame(() => {
      framed = false;
      board.draw();
      panel.draw();
    });
  if (connection.behind) setTimeout(draw, LOOK_MS);
  else draw();
}

/** New calls and alerts find their place within a moment, many of them at once. */
function soon() {
  arranging ||= setTimeout(() => {
    arranging = 0;
    refresh();
  }, 200);
}

/** While somebody points at the board its order stands still; what is counted above it does not. */
function refresh() {
  if (board.touched) tally();
  else arrange();
}

function tally() {
  const count = counted(calls.all.values());
  controls.count(count);
  document.title = `${count.alerting ? `▲ ${count.alerting} · ` : ""}Live calls · emotion-monitor`;
}

function arrange() {
  const at = now();
  if (board.list.dataset.view !== controls.view) board.view = controls.view;
  const shown = chosen(calls.all.values(), controls.choice, at);
  board.arrange(shown);
  tally();
  const more = find(document, "#more", HTMLElement);
  more.hidden = shown.length <= MAX_CARDS;
  write(
    more,
    `${MAX_CARDS} of ${many(shown.length, "call")} are shown: filter or search for the others.`,
  );
  connection.explain(shown.length, calls.all.size);
  board.tell();
  frame();
}

/** Events of the past come faster than time goes, and so the server's clock seems to run ahead. */
function look() {
  const ahead = offset_s - clock.offset_s > LOOK_MS / 1000;
  offset_s = clock.offset_s;
  if (ahead === connection.behind) return;
  connection.behind = ahead;
  if (ahead) return;
  for (const call of calls.all.values()) {
    if (call.alert && now() - call.alert.time < NEWS_S) announcer.tell(call);
  }
}

/** Time passes without events, too. */
function tick() {
  for (const call of calls.sweep(now())) board.touch(call);
  for (const call of calls.all.values()) if (call.live && now() - call.heard_at > 5) board.touch(call);
  refresh();
}

find(document, "#missed-done", HTMLButtonElement).onclick = () => (missed.hidden = true);
find(document, "#everything", HTMLButtonElement).onclick = () => controls.reset();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  board.repaint();
  frame();
});
setInterval(tick, EVERY_MS);
setInterval(look, LOOK_MS);
connection.open();
arrange();
