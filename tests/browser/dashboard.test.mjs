/** The dashboard over 200 played calls. */
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { launch } from "./harness.mjs";
import { everyCallAt, played, reads, shown } from "./played.mjs";

let browser;
let center;
let page;

before(async () => {
  browser = await launch();
});
after(() => browser?.close());
afterEach(async () => {
  await page?.context().close();
  await center?.stop();
});

const opened = async (...args) => ([center, page] = await played(browser, ...args));

/** What the calls with these streams have in the page's cards. */
const labels = () =>
  page
    .locator("#board .card")
    .evaluateAll((cards) =>
      cards.map((card) => [card.querySelector(".name").textContent, card.dataset.sounds]),
    );

/** Seconds since the beginning of every call that the board shows. */
const times = () => page.locator("#board .card:not([inert]) .time").allTextContents();

const allAt = (time) => everyCallAt(page, time);

test("200 calls are all shown, and can be sorted, filtered and searched", async () => {
  await opened(200, 3);
  assert.equal((await shown(page)).length, 200);
  await allAt("0:03");

  await page.selectOption("#sort", "name");
  await page.waitForFunction(
    () => document.querySelector("#board .name").textContent === "billing-1000",
  );
  const byName = await shown(page);
  const ordered = [...byName].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  assert.deepEqual(byName, ordered);

  await page.getByLabel("Search by stream").fill("CLAIMS-10");
  await page.waitForFunction(() => document.querySelectorAll("#board .card").length === 20);
  assert.ok((await shown(page)).every((stream) => stream.startsWith("claims-10")));

  await page.fill("#search", "");
  const calm = page.locator(".sound[data-sounds=calm]");
  await calm.click();
  const count = Number(await calm.locator("b").textContent());
  await page.waitForFunction((n) => document.querySelectorAll("#board .card").length === n, count);
  assert.ok(count > 0);
  assert.ok((await labels()).every(([, sounds]) => sounds === "calm"));

  await page.fill("#search", "no such call");
  await reads(page, "#empty-title", "No call is like that");
  await page.click("#everything");
  await page.waitForFunction(() => document.querySelectorAll("#board .card").length === 200);
});

test("calls can be sorted by an emotion's share, and by how long they last", async () => {
  await opened(3, 2);
  await center.do("start", { n: 2 });
  await center.do("step", { n: 3 });
  await page.selectOption("#sort", "newest");
  await page.waitForFunction(
    (expected) =>
      [...document.querySelectorAll("#board .time")].map((e) => e.textContent).join() === expected,
    "0:03,0:03,0:05,0:05,0:05",
  );
  await page.selectOption("#sort", "longest");
  await page.waitForFunction(() => document.querySelector("#board .time").textContent === "0:05");
  const first = (await labels()).find(([, sounds]) => sounds && sounds !== "silent");
  await page.selectOption("#sort", String(first[1]));
  await page.waitForFunction(
    (sounds) => document.querySelector("#board .card").dataset.sounds === sounds,
    first[1],
  );
});

test("what a broken connection missed is filled in, nothing missing and nothing twice", async () => {
  await opened(20, 5);
  await allAt("0:05");
  await center.do("away", { value: true });
  await center.do("drop");
  await page.waitForSelector("body.stale");
  await page.locator("#retry").waitFor();
  assert.match(await page.textContent("#connection-text"), /^As of .* trying again$/);
  await center.do("step", { n: 7 });
  await center.do("again");
  await center.do("away", { value: false });
  await reads(page, "#connection-text", "Live");
  await allAt("0:12");
  assert.equal(await page.locator("#missed").isVisible(), false);
  const { queries } = await center.do("state");
  assert.equal(queries[0].since[0], "0-0");
  assert.notEqual(queries.at(-1).since[0], "0-0");

  await page.locator("#board .name").first().focus();
  await page.keyboard.press("Enter");
  const label = await page.getAttribute("#chart", "aria-label");
  assert.match(label, /0:00 not heard$/);
  const [speech, silence] = [...label.matchAll(/(\d+):(\d+) of/g)].map((m) => 60 * +m[1] + +m[2]);
  assert.equal(speech + silence, 12);
});

test("what the server no longer has is said, and shown as a hole", async () => {
  await opened(20, 5, { args: ["--ring", "300"] });
  await allAt("0:05");
  await center.do("away", { value: true });
  await center.do("drop");
  await page.waitForSelector("body.stale");
  await center.do("step", { n: 40 });
  await center.do("away", { value: false });
  await allAt("0:45");
  await page.locator("#missed").waitFor();
  assert.match(await page.textContent("#missed-text"), /did not reach this page before/);
  await page.locator("#board .name").first().focus();
  await page.keyboard.press("Enter");
  assert.match(await page.getAttribute("#chart", "aria-label"), /0:[1-4]\d not heard$/);
  await page.keyboard.press("Escape");
  await page.click("#missed-done");
  assert.equal(await page.locator("#missed").isVisible(), false);
});

test("an alert that is raised is marked, said and put first, and gone when it is cleared", async () => {
  await opened(30, 3);
  await reads(page, "#connection-text", "Live");
  const { streams } = await center.do("state");
  await center.do("alert", { call: 17, state: "raised" });
  await reads(page, "#alarm", `Alert on ${streams[17]}: anger above 0.6 for 10 s.`);
  await page.waitForFunction(
    (name) => document.querySelector("#board .name").textContent === name,
    streams[17],
  );
  const card = page.locator("#board .card").first();
  assert.equal(await card.getAttribute("data-alert"), "yes");
  assert.equal(await card.locator(".note").textContent(), "▲ anger above 0.6 for 10 s");
  await reads(page, "#alerts", "1");
  assert.match(await page.title(), /^▲ 1 · /);

  await page.click("#alerting");
  await page.waitForFunction(() => document.querySelectorAll("#board .card").length === 1);
  await center.do("alert", { call: 17, state: "cleared" });
  await reads(page, "#news", `No alert any more on ${streams[17]}.`);
  await reads(page, "#empty-title", "No call is like that");
  await reads(page, "#alerts", "0");
});

test("who points at the board keeps its order, and sees what is counted change", async () => {
  await opened(4, 10);
  const point = () => page.dispatchEvent("#board .card", "pointermove").catch(() => {});
  const pointing = setInterval(point, 200);
  try {
    await point();
    const before = await shown(page);
    await center.do("alert", { call: 3, state: "raised" });
    await reads(page, "#alerts", "1");
    assert.match(await page.title(), /▲ 1/);
    assert.deepEqual(await shown(page), before);
  } finally {
    clearInterval(pointing);
  }
});

test("a call's name is shown as text, whatever it is", async () => {
  await opened(1, 1);
  await center.do("say", {
    event: {
      type: "silence",
      id: "x:1",
      seq: 1,
      stream_id: "<img src=x onerror=alert(1)>".repeat(5),
      channel: "mono",
      start_s: 0,
      end_s: 1,
      more: { of: "what a later server may add" },
    },
  });
  await center.do("say", { event: { type: "later", id: "y:1", stream_id: "y" } });
  await page.waitForFunction(() => document.querySelectorAll("#board .card").length === 2);
  assert.equal(await page.locator("#board img").count(), 0);
});

test("what is over fades from the live calls, and stays among the ended ones", async () => {
  await opened(5, 3);
  await center.do("end", { n: 2 });
  await reads(page, "#ended", "2");
  await page.waitForFunction(
    () => document.querySelectorAll("#board .card:not([inert])").length === 3,
    null,
    {
      timeout: 60_000,
    },
  );
  await page.check("input[value=ended]", { force: true });
  await page.waitForFunction(
    () => document.querySelectorAll("#board .card[data-state=ended]").length === 2,
  );
  assert.deepEqual(await page.locator(".card .note").allTextContents(), ["ended", "ended"]);
});

test("the view and the order are remembered", async () => {
  await opened(5, 3);
  await page.check("input[value=list]", { force: true });
  await page.selectOption("#sort", "longest");
  await page.waitForSelector("#board[data-view=list]");
  await page.reload();
  await page.waitForSelector("#board[data-view=list] .card");
  assert.equal(await page.inputValue("#sort"), "longest");
});

test("an empty dashboard says what to do", async () => {
  await opened(0, 0);
  await reads(page, "#empty-title", "No calls yet");
  assert.equal(await page.locator("#empty-how").isVisible(), true);
});

test("only streams that match the address's pattern are followed", async () => {
  await opened(0, 0, { query: "?streams=claims-*" });
  await reads(page, "#connection-text", "Live");
  await center.do("start", { n: 10 });
  await center.do("step");
  await page.waitForFunction(() => document.querySelectorAll("#board .card").length === 2);
  assert.ok((await shown(page)).every((stream) => stream.startsWith("claims-")));
});
