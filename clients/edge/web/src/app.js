/** The page: a microphone or a file to windows, windows to the model, what it says to the view. */
import { Model } from "./model.js";
import { decoded, Microphone, resampled } from "./sound.js";
import { draw, drawBars, element, isQuiet, say } from "./view.js";
import { Windows } from "./windows.js";

/**
 * @typedef {import("./windows.js").Window} Window
 * @typedef {import("./view.js").Line} Line
 */

const MOST_LINES = 36_000; // ten hours; older ones are forgotten
const MEDIAN_OF = 31; // times that the median is taken over

const microphoneButton = /** @type {HTMLButtonElement} */ (element("microphone"));
const fileInput = /** @type {HTMLInputElement} */ (element("file"));
const saveButton = /** @type {HTMLButtonElement} */ (element("save"));

/** @type {Model} */
let model;
/** @type {Microphone | undefined} */
let microphone;
/** @type {Line[]} */
let lines = [];
/** @type {number[]} */
let times = [];
let skipped = 0;
let turn = 0; // counts what was listened to, so that what is left of an older one is dropped

/**
 * @param {Window} window
 * @param {number} rate Hz of its samples
 * @param {number} mine
 */
async function judge(window, rate, mine) {
  const quiet = isQuiet(window.samples);
  const waveform = await resampled(window.samples, rate, model.contract.rate);
  const { probabilities, ms } = await model.judge(waveform);
  if (mine !== turn) return;
  const { labels } = model.contract;
  const line = {
    start_s: window.start,
    end_s: window.end,
    label: labels[probabilities.indexOf(Math.max(...probabilities))],
    probabilities: Object.fromEntries(labels.map((label, i) => [label, probabilities[i]])),
  };
  lines = [...lines, line].slice(-MOST_LINES);
  times = [...times, ms].slice(-MEDIAN_OF);
  saveButton.disabled = false;
  draw(line, quiet);
  showFacts();
}

function showFacts() {
  const { contract, threads, bytes } = model;
  const median = [...times].sort((a, b) => a - b)[times.length >> 1];
  const facts = [
    `${contract.name}, ${contract.precision}, ${(bytes / 1e6).toFixed(0)} MB`,
    `WebAssembly, ${threads} thread${threads > 1 ? "s" : ""}`,
    ...(median === undefined ? [] : [`${median.toFixed(0)} ms a window`]),
    ...(skipped ? [`${skipped} windows skipped: this device is too slow`] : []),
  ];
  element("facts").textContent = facts.join(" · ");
}

/** Ends what is listened to, and forgets what was heard. */
async function begin() {
  const open = microphone;
  microphone = undefined;
  microphoneButton.textContent = "Use the microphone";
  lines = [];
  skipped = 0;
  saveButton.disabled = true;
  turn += 1;
  await open?.close();
  return turn;
}

/** @param {File} file */
async function hearFile(file) {
  const mine = await begin();
  say(`Decoding ${file.name}…`);
  const { rate } = model.contract;
  const samples = await decoded(file, rate);
  const windows = new Windows(rate);
  for (let from = 0; from < samples.length && mine === turn; from += rate) {
    const complete = windows.feed(samples.subarray(from, from + rate));
    for (const window of complete) await judge(window, rate, mine);
    if (mine === turn) say(`Judging ${file.name}: ${Math.round((100 * from) / samples.length)} %`);
  }
  for (const window of windows.finish()) await judge(window, rate, mine);
  if (mine === turn) say(`${file.name} is judged, ${lines.length} windows.`);
}

async function hearMicrophone() {
  const mine = await begin();
  say("Waiting for the microphone…");
  /** @type {Windows | undefined} */
  let windows;
  /** @type {Window | undefined} */
  let newest;
  let busy = false;
  const heard = async (/** @type {Float32Array} */ samples) => {
    for (const window of windows?.feed(samples) ?? []) {
      if (newest) skipped += 1;
      newest = window; // on a device that is too slow the newest one wins
    }
    if (busy) return;
    busy = true;
    while (newest && windows && mine === turn) {
      const window = newest;
      newest = undefined;
      await judge(window, windows.rate, mine).catch(fail);
    }
    busy = false;
  };
  const lost = async () => {
    await begin();
    say("The microphone is gone: plug it in again.", "problem");
  };
  const opened = await Microphone.open(model.contract.rate, heard, lost);
  if (mine !== turn) return opened.close();
  microphone = opened;
  windows = new Windows(opened.rate);
  microphoneButton.textContent = "Stop";
  say("Listening. The first judgement comes after a second.");
}

function save() {
  const text = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/jsonl" }));
  link.download = "emotions.jsonl";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // once the browser has read it
}

/** @param {unknown} error */
function fail(error) {
  say(error instanceof Error ? error.message : String(error), "problem");
}

function listenToPeople() {
  microphoneButton.onclick = () => {
    if (microphone) void begin().then(() => say("Stopped."));
    else hearMicrophone().catch(fail);
  };
  fileInput.onchange = () => {
    const [file] = fileInput.files ?? [];
    if (file) hearFile(file).catch(fail);
    fileInput.value = ""; // so that the same file can be chosen again
  };
  document.ondragover = (event) => event.preventDefault();
  document.ondrop = (event) => {
    event.preventDefault();
    const file = event.dataTransfer?.files[0];
    if (file) hearFile(file).catch(fail);
  };
  saveButton.onclick = save;
}

try {
  const threads = Number(new URLSearchParams(location.search).get("threads")) || undefined;
  model = await Model.load("monitor.onnx", threads);
  drawBars(model.contract.labels);
  listenToPeople();
  showFacts();
  microphoneButton.disabled = fileInput.disabled = false;
  say("Ready. Speak, or drop a recording on this page.");
} catch (error) {
  fail(error);
}
