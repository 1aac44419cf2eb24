/**
 * The pictures of the pages in the README: needs Chromium, and `npm ci` in tests/browser.
 *
 *     EMOTION_PYTHON=.venv/bin/python node docs/pictures.mjs SPEECH.wav SECONDS
 *
 * `docs/page.png` is the browser client so many seconds into the recording, which a real server judges;
 * `docs/dashboard.png` shows calls that tests/browser/played_calls.py makes up.
 */
import { dirname, join, resolve } from "node:path";
import { Server, launch } from "../tests/browser/harness.mjs";
import { played, reads } from "../tests/browser/played.mjs";

const [recording, seconds] = [resolve(process.argv[2]), Number(process.argv[3])];
const folder = dirname(new URL(import.meta.url).pathname);
const viewport = { width: 1280, height: 800 };
const browser = await launch();
const server = await Server.start();
try {
  const context = await browser.newContext({ viewport, colorScheme: "dark" });
  const page = await context.newPage();
  await page.goto(server.url);
  await page.setInputFiles("input[type=file]", recording);
  await page.waitForTimeout(1000 * seconds);
  await page.screenshot({ path: join(folder, "page.png") });
  await context.close();
} finally {
  await server.stop();
}

const options = { viewport: { width: 1440, height: 900 } };
const [center, dashboard] = await played(browser, 200, 120, { args: ["--live"], options });
try {
  await reads(dashboard, "#connection-text", "Live");
  await dashboard.waitForTimeout(3000);
  await dashboard.screenshot({ path: join(folder, "dashboard.png") });
} finally {
  await center.stop();
  await browser.close();
}
