/** The browser client hears what `emotion-client file` hears, from a microphone and from a file. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Server, launch, python } from "./harness.mjs";
import { Ear, changes, fileEvents, folder, sound, until, watchWords } from "./support.mjs";

const LIMIT = { timeout: 120_000 };
/** @type {Server} */ let server;
let speech = "";

before(async () => {
  [server, speech] = await Promise.all([Server.start(), sound("speech", "speech.wav", "12")]);
});
after(() => server.stop());

/**
 * Each event of the page beside the client's of the same end; windows that a busy machine skips are
 * left out.
 */
function pairs(ours, theirs) {
  const byEnd = new Map(theirs.map((event) => [event.end_s, event]));
  return ours.filter(({ end_s }) => byEnd.has(end_s)).map((event) => [event, byEnd.get(event.end_s)]);
}

/** The largest difference between two events' probabilities. */
function apart({ probabilities: ours }, { probabilities: theirs }) {
  return Math.max(...Object.keys(ours).map((label) => Math.abs(ours[label] - theirs[label])));
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Up to where no window was skipped; from there on the voice's statistics are others. */
function unbrokenS(ours, theirs) {
  const ends = new Set(ours.map(({ end_s }) => end_s));
  return theirs.find(({ end_s }) => !ends.has(end_s))?.end_s ?? Infinity;
}

test("the microphone's judgements are those of the file client for the same sound", LIMIT, async () => {
  const browser = await launch({ microphone: `${speech}%noloop` });
  try {
    const page = await browser.newPage();
    const ear = new Ear(page);
    await page.goto(server.url);
    await watchWords(page);
    await page.click("#microphone");
    await until(() => ear.events.some(({ end_s }) => end_s >= 10));
    await page.click("#stop");
    await until(() => ear.heard.some(({ type }) => type === "summary"));

    // What the page sent, played by the file client: the same sound, so the same judgements.
    const heard = ear.save("heard.wav");
    const expected = await fileEvents(server.url, heard);
    const [same, toS] = [pairs(ear.events, expected), unbrokenS(ear.events, expected)];
    assert.ok(same.length >= 8, `${same.length} windows`);
    for (const [ours, theirs] of same) {
      assert.equal(ours.type, theirs.type);
      if (ours.end_s > toS) continue;
      assert.equal(ours.adapted_s, theirs.adapted_s);
      assert.deepEqual(ours.probabilities, theirs.probabilities);
      assert.equal(ours.label, theirs.label);
    }
    const words = ear.events.map((event) => event.smoothed?.label ?? "silence");
    const shown = (await page.evaluate(() => globalThis.shown)).filter((word) => word !== "…");
    assert.deepEqual(changes(shown), changes(words));

    // And what it sent is the recording, from where the microphone began to listen.
    const original = `${folder}/original.wav`;
    const said = await python("tests/browser/sounds.py", "same", speech, heard, original);
    const [whole, pieces] = JSON.parse(said);
    assert.ok(pieces > 0.9, `the sound's pieces are like the recording's by ${pieces}`);
    if (whole > 0.9) { // else Chromium, too busy, lost sound before the page had it
      // A voice that never was lies between labels: the moment's difference in where a window begins
      // can change one, and moves its probabilities by little. Without adaptation, which adds up.
      const [sent, played] = [
        await fileEvents(server.url, heard, "--no-adapt"),
        await fileEvents(server.url, original, "--no-adapt"),
      ];
      const alike = pairs(sent, played);
      const judged = alike.filter(([ours, theirs]) => ours.label && theirs.label);
      assert.ok(judged.length >= 8, `${judged.length} windows are judged in both`);
      const near = judged.map(([ours, theirs]) => apart(ours, theirs));
      assert.ok(Math.max(...near) < 0.25, `probabilities differ by up to ${Math.max(...near)}`);
      // What would be another sound's: two seconds later.
      const far = judged.slice(4).map(([, theirs], i) => apart(judged[i][0], theirs));
      assert.ok(mean(near) < mean(far) / 2, `${mean(near)} apart, others are ${mean(far)}`);
    }
  } finally {
    await browser.close();
  }
});

test("a recording that is chosen gives the file client's judgements", LIMIT, async () => {
  const odd = await sound("rates", "odd.wav"); // 22.05 kHz, two channels to be mixed
  const browser = await launch();
  try {
    const page = await browser.newPage();
    const ear = new Ear(page);
    await page.goto(server.url);
    await page.setInputFiles("#file", odd);
    await until(() => ear.heard.some(({ type }) => type === "summary"));
    assert.equal(ear.rate, 22_050);
    const expected = await fileEvents(server.url, odd);
    const same = pairs(ear.events, expected);
    assert.ok(same.length >= 5, `${same.length} windows`);
    // Chromium's decoder scales positive samples by 1/32767: a hair's breadth, which int8 makes visible.
    // So what was sent is held against the file sample by sample, and against its own judgements.
    const heard = ear.save("chosen.wav");
    const [steps] = JSON.parse(await python("tests/browser/sounds.py", "apart", odd, heard));
    assert.ok(steps <= 2, `${steps} steps of 16 bits apart`);
    const again = await fileEvents(server.url, heard);
    const toS = unbrokenS(ear.events, again);
    for (const [ours, theirs] of pairs(ear.events, again)) {
      assert.equal(ours.type, theirs.type);
      if (ours.end_s <= toS) assert.deepEqual(ours.probabilities, theirs.probabilities);
    }
    await page.waitForSelector("#microphone:visible");
    assert.match(await page.textContent("#connection-text"), /Not connected/);
    assert.match(await page.textContent("#about"), /its usual sound is learnt/);
    assert.ok(Math.max(...ear.events.map(({ adapted_s }) => adapted_s ?? 0)) > 1);
  } finally {
    await browser.close();
  }
});

test("devices at 44.1, 96 and 192 kHz are sent at what the server takes, in frames of 50 ms",
  LIMIT, async () => {
  const browser = await launch({ microphone: speech });
  try {
    for (const [device, sent] of [[44_100, 44_100], [96_000, 48_000], [192_000, 48_000]]) {
      const page = await browser.newPage();
      const ear = new Ear(page);
      await page.addInitScript((sampleRate) => {
        const Own = globalThis.AudioContext;
        globalThis.AudioContext = class extends Own {
          constructor() {
            super({ sampleRate });
          }
        };
      }, device);
      await page.goto(server.url);
      await page.click("#microphone");
      await until(() => ear.events.length >= 1);
      assert.equal(ear.rate, sent);
      assert.equal(ear.audio[0].length, 2 * Math.round(0.05 * sent));
      await page.close();
    }
  } finally {
    await browser.close();
  }
});
