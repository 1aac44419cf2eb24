/** How long a window takes in the page, as the page says it: node times.mjs [SHOTS], after npm ci. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launch, python } from "../../../browser/harness.mjs";
import { build, serve } from "./site.mjs";

const SPEECH = `
import sys, soundfile
from clients.synthetic import speech_like
soundfile.write(sys.argv[1], speech_like(34, seed=11), 16_000)
`;

const folder = await mkdtemp(join(tmpdir(), "edge-"));
const browser = await launch();
try {
  await build(join(folder, "page"));
  await python("-c", SPEECH, join(folder, "speech.wav"));
  const site = await serve(join(folder, "page"));
  for (const threads of [1, 2]) {
    const tab = await browser.newPage();
    await tab.goto(`${site.url}?threads=${threads}`);
    await tab.getByText("Ready.").waitFor({ timeout: 60_000 });
    await tab.locator("#file").setInputFiles(join(folder, "speech.wav"));
    await tab.getByText("speech.wav is judged").waitFor({ timeout: 300_000 });
    console.log(await tab.locator("#facts").textContent());
    if (process.argv[2]) await screenshots(tab, process.argv[2]);
    await tab.close();
  }
  await site.close();
} finally {
  await browser.close();
  await rm(folder, { recursive: true, force: true });
}

/** Light, dark, and as on a phone. */
async function screenshots(tab, to) {
  const looks = [["light", "light", 900], ["dark", "dark", 900], ["phone", "light", 360]];
  for (const [name, colorScheme, width] of looks) {
    await tab.emulateMedia({ colorScheme });
    await tab.setViewportSize({ width, height: 800 });
    await tab.screenshot({ path: join(to, `${name}.png`) });
  }
}
