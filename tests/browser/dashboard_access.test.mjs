/** The dashboard for who uses a keyboard, a screen reader, a phone or the dark. */
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { launch } from "./harness.mjs";
import { accessible, everyCallAt, played, reads, shown } from "./played.mjs";

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

test("arrow keys go from call to call, Enter opens one, and Escape comes back to it", async () => {
  await opened(30, 10);
  await page.selectOption("#sort", "name");
  await page.waitForFunction(
    () => document.querySelector("#board .name").textContent === "billing-1000",
  );
  await page.locator("#board .name").first().focus();
  await page.keyboard.press("End");
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("Enter");
  const [, second] = await shown(page);
  await reads(page, "#panel-name", second);
  await page.focus("#moment");
  await page.keyboard.press("Home");
  await page.waitForFunction(() =>
    document.querySelector("#moment-text").textContent.startsWith("0:00"),
  );
  await page.keyboard.press("ArrowRight");
  await page.waitForFunction(() =>
    document.querySelector("#moment-text").textContent.startsWith("0:01"),
  );
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), second);
});

for (const colorScheme of ["light", "dark"]) {
  test(`axe-core finds nothing wrong in ${colorScheme}: empty, full, narrow, a call open`, async () => {
    await opened(0, 0, { options: { colorScheme, reducedMotion: "reduce" } });
    await reads(page, "#empty-title", "No calls yet");
    await accessible(page, "empty");
    await center.do("start", { n: 24 });
    await center.do("step", { n: 30 });
    await center.do("alert", { call: 3, state: "raised" });
    await center.do("end", { n: 2 });
    await everyCallAt(page, "0:30");
    await reads(page, "#ended", "2");
    for (const view of ["cards", "tiles", "list"]) {
      await page.check(`input[value=${view}]`, { force: true });
      await page.waitForSelector(`#board[data-view=${view}]`);
      await accessible(page, view);
    }
    await page.locator("#board .name").first().focus();
    await page.keyboard.press("Enter");
    await page.locator("#panel[open]").waitFor();
    await accessible(page, "a call");
    await page.keyboard.press("Escape");
    await page.setViewportSize({ width: 360, height: 740 });
    await accessible(page, "narrow");
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= 360, `the page is ${wide} pixels wide on a phone of 360`);
    await center.do("away", { value: true });
    await center.do("drop");
    await page.locator("#retry").waitFor();
    await accessible(page, "disconnected");
  });
}
