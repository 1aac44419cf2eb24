/** Connections that break and servers that go: the page goes on, and says what happened. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Server, launch } from "./harness.mjs";
import { Ear, Line, sound, until } from "./support.mjs";

const LIMIT = { timeout: 120_000 };
/** @type {Server} */ let server;
/** @type {Line} */ let line;
/** @type {import("playwright-core").Browser} */ let browser;

before(async () => {
  const microphone = await sound("speech", "speech.wav", "20");
  [server, browser] = await Promise.all([Server.start(), launch({ microphone })]);
  line = await Line.to(server.port);
});
after(async () => {
  await browser?.close();
  await line?.close();
  await server?.stop();
});

/** A page that listens, once it has heard something. */
async function listening() {
  const page = await browser.newPage();
  const ear = new Ear(page);
  await page.goto(line.url);
  await page.click("#microphone");
  await until(() => ear.events.length >= 2);
  return { page, ear };
}

const started = (ear) => ear.heard.filter(({ type }) => type === "started");

test("where only the connection breaks, the session goes on and no event is missed or told twice",
  LIMIT, async () => {
  const { page, ear } = await listening();
  line.cut();
  await until(() => started(ear).length === 2);
  const before = ear.events.length;
  await until(() => ear.events.length >= before + 4);
  const [first, second] = started(ear);
  assert.equal(second.resumed, true);
  assert.equal(second.session_id, first.session_id);
  await page.click("#stop");
  await until(() => ear.heard.some(({ type }) => type === "summary"));

  const log = await saved(page);
  const seqs = log.filter(({ seq }) => seq).map(({ seq }) => seq);
  assert.deepEqual(seqs, [...new Set(seqs)].sort((a, b) => a - b));
  const summary = log.find(({ type }) => type === "summary");
  assert.equal(seqs.length, summary.inferred + summary.silent);
  await page.close();
});

test("a server that is killed and started again gets a new session; what was shown stays, with a mark",
  LIMIT, async () => {
  const { page, ear } = await listening();
  await until(() => ear.events.at(-1).end_s >= 3); // enough to point at, a second before the break
  const shownBefore = ear.events.length;
  await server.stop("SIGKILL");
  await page.waitForSelector("#trouble:visible");
  assert.match(await page.textContent("#trouble-title"), /broke|reached/);
  assert.match(await page.textContent("#connection-text"), /again|Connecting/);

  server = await Server.start();
  line.port = server.port;
  await until(() => started(ear).length === 2);
  await until(() => ear.events.length >= shownBefore + 3);
  assert.equal(started(ear)[1].resumed, false);
  await page.waitForSelector("#trouble", { state: "hidden" });

  // One history over both, and where the one ends and the other begins is to be seen.
  const log = await saved(page);
  assert.equal(log.filter(({ type }) => type === "started").length, 2);
  const sessions = new Set(log.filter(({ seq }) => seq).map(({ id }) => id.split(":")[0]));
  assert.equal(sessions.size, 2);
  await page.focus("#timeline");
  await until(async () => {
    await page.keyboard.press("ArrowLeft");
    return /new session/.test(await page.textContent("#readout"));
  });
  await until(async () => {
    await page.keyboard.press("ArrowLeft");
    return /s ago: (silence|\w+ \d+ %)/.test(await page.textContent("#readout"));
  });
  await page.click("#stop");
  await page.waitForSelector("#microphone:visible");
  await page.close();
});

test("a server that shuts down in peace is gone on with, too", LIMIT, async () => {
  const { page, ear } = await listening();
  const [, next] = await Promise.all([server.stop(), Server.start()]);
  server = next;
  line.port = server.port;
  await until(() => started(ear).length === 2);
  const before = ear.events.length;
  await until(() => ear.events.length > before + 1);
  assert.match(await page.textContent("#connection-text"), /Live/);
  await page.close();
});

test("what begins while the last results are waited for is what the page listens to afterwards",
  LIMIT, async () => {
  const { page, ear } = await listening();
  const recording = await sound("speech", "next.wav", "12");
  line.port = 1; // nobody answers there: the last results will not come
  line.cut();
  await page.click("#stop");
  await page.setInputFiles("#file", recording);
  await until(async () => /next\.wav/.test(await page.textContent("#source-text")));
  line.port = server.port;
  await until(() => started(ear).length === 2);
  const before = ear.events.length;
  await until(() => ear.events.length >= before + 12); // 6 s: the end of the first would have come
  assert.equal(await page.isVisible("#stop"), true);
  await page.click("#stop");
  await page.waitForSelector("#microphone:visible");
  await page.close();
});

test("sound that cannot be sent any more after a stop is said not to be judged", LIMIT, async () => {
  const { page } = await listening();
  line.port = 1; // nobody answers there
  line.cut();
  await page.evaluate(() => new Promise((done) => setTimeout(done, 2500))); // of which sound is left
  await page.click("#stop");
  await page.waitForSelector("#trouble[data-code=unjudged]:visible");
  assert.match(await page.textContent("#trouble-text"), /[1-9]\d* s were not judged/);
  line.port = server.port;
  await page.click("#microphone");
  await page.waitForSelector("#stop:visible");
  assert.equal(await page.isVisible("#trouble"), false);
  await page.close();
});

/** The log, as the page saves it. */
async function saved(page) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#save")]);
  const chunks = [];
  for await (const chunk of await download.createReadStream()) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString());
}
