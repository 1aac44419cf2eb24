/** The dashboard over the real server. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Server, launch, python } from "./harness.mjs";
import { dashboard, reads } from "./played.mjs";

let browser;
let folder;

before(async () => {
  [browser, folder] = await Promise.all([launch(), mkdtemp(join(tmpdir(), "dashboard-"))]);
});
after(async () => {
  await browser?.close();
  await rm(folder, { recursive: true, force: true });
});

/** Two streams of synthetic speech. */
const load = (server, ...more) =>
  python(
    "-m",
    "clients",
    "load",
    "--url",
    server.url.replace("http", "ws"),
    "--streams",
    "2",
    "--seconds",
    "4",
    "--ramp",
    "0",
    "--json",
    ...more,
  );

test("calls appear as they speak, and for who opens the page afterwards", async () => {
  const server = await Server.start();
  try {
    const page = await dashboard(browser, `${server.url}/dashboard`);
    await reads(page, "#empty-title", "No calls yet");
    const [said] = await Promise.all([
      load(server),
      page.waitForFunction(
        () => document.querySelectorAll("#board .card .feel:not(:empty)").length === 2,
      ),
    ]);
    assert.ok(JSON.parse(said).windows > 0);
    await reads(page, "#ended", "2");

    const late = await dashboard(browser, `${server.url}/dashboard`);
    await reads(late, "#ended", "2");
    await late.check("input[value=ended]", { force: true });
    await late.waitForFunction(() => document.querySelectorAll("#board .card").length === 2);
    const labels = (of) => of.locator("#board .card .feel").allTextContents();
    await page.check("input[value=ended]", { force: true });
    assert.deepEqual((await labels(late)).sort(), (await labels(page)).sort());

    await server.stop();
    await page.locator("#retry").waitFor();
    const again = await Server.start("--port", String(server.port));
    try {
      await reads(page, "#connection-text", "Live");
    } finally {
      await again.stop();
    }
  } finally {
    await server.stop();
  }
});

test("what a rule of the server finds stands on the call, and is over when the call is", async () => {
  const config = join(folder, "alerts.toml");
  const all = ["neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"];
  const rule = `[[alerts]]\nname = "speaks"\nemotions = ${JSON.stringify(all)}\nabove = 0.9\nfor_s = 1\n`;
  await writeFile(config, rule);
  const server = await Server.start("--config", config);
  try {
    const page = await dashboard(browser, `${server.url}/dashboard`);
    await reads(page, "#empty-title", "No calls yet");
    const raised = page.waitForFunction(() => document.querySelector("#board .card[data-alert=yes]"));
    await Promise.all([load(server, "--speech-share", "1"), raised]);
    await reads(page, "#ended", "2");
    await page.check("input[value=ended]", { force: true });
    await page.waitForFunction(() => !document.querySelector("#board .card[data-alert=yes]"));
  } finally {
    await server.stop();
  }
});

test("a token is asked for, a wrong one refused, and the right one kept by the tab alone", async () => {
  const digest = (
    await python("-c", "import hashlib; print(hashlib.sha256(b's3cret-s3cret-s3cret').hexdigest())")
  ).trim();
  const config = join(folder, "server.toml");
  await writeFile(config, `[[tokens]]\nname = "board"\nsha256 = "${digest}"\nroles = ["monitor"]\n`);
  const server = await Server.start("--config", config);
  try {
    const page = await dashboard(browser, `${server.url}/dashboard`);
    await page.locator("#token").waitFor();
    await page.fill("#token", "wrong");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() =>
      document.querySelector("#token-why").textContent.includes("did not take"),
    );
    await page.fill("#token", "s3cret-s3cret-s3cret");
    await page.keyboard.press("Enter");
    await reads(page, "#connection-text", "Live");
    assert.equal(await page.locator("#token").isVisible(), false);
    assert.equal(await page.evaluate(() => JSON.stringify(localStorage).includes("s3cret")), false);
    await page.reload();
    await reads(page, "#connection-text", "Live");
  } finally {
    await server.stop();
  }
});
