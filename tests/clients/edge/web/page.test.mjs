/** The model in a page, in a real Chromium: what it says, and that nothing of it goes anywhere. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch, python, ROOT } from "../../../browser/harness.mjs";
import { build, serve } from "./site.mjs";

const FP32_TOLERANCE = 1e-3;
/** Of dynamic int8, between the rounding of WebAssembly and of the server's processor: in probability. */
const INT8_TOLERANCE = 0.05;
const SLOW_MS = 60_000;
const AXE = createRequire(join(ROOT, "tests/browser/package.json")).resolve("axe-core");

let folder = "";
let page = ""; // the folder of the built page
let browser;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "edge-"));
  page = join(folder, "page");
  await build(page);
  await python("-m", "tests.clients.edge.web.material", folder);
  browser = await launch({ microphone: join(folder, "speech.wav") });
});

after(async () => {
  await browser?.close();
  await rm(folder, { recursive: true, force: true });
});

/**
 * Opens the page and waits until its model is loaded.
 *
 * @param {{isolated?: boolean, model?: string, path?: string}} options
 * @param {(tab: import("playwright-core").Page, site: {url: string}) => Promise<void>} look
 */
async function opened({ path = "", ...options }, look) {
  const site = await serve(page, options);
  const context = await browser.newContext();
  try {
    const tab = await context.newPage();
    tab.setDefaultTimeout(SLOW_MS);
    await tab.goto(site.url + path);
    await tab.getByText("Ready.").waitFor();
    await look(tab, site);
  } finally {
    await context.close();
    await site.close();
  }
}

/** Judges a file; gives the lines that the page saves. */
async function judged(tab, name) {
  await tab.locator("#file").setInputFiles(join(folder, name));
  await tab.getByText(`${name} is judged`).waitFor();
  return saved(tab);
}

async function saved(tab) {
  const [download] = await Promise.all([tab.waitForEvent("download"), tab.locator("#save").click()]);
  return lines(await readFile(await download.path(), "utf8"));
}

const lines = (text) => text.trim().split("\n").map((line) => JSON.parse(line));
const expected = async (name) => lines(await readFile(join(folder, `${name}.jsonl`), "utf8"));
const judgement = ({ start_s, end_s, label }) => ({ start_s, end_s, label });

/** The server's line; where its two best emotions are nearly level, either of them is as right. */
function settled(line, said, wanted) {
  const behind = wanted.probabilities[line.label] - wanted.probabilities[said.label];
  return behind < INT8_TOLERANCE ? { ...line, label: said.label } : line;
}

function difference(said, wanted) {
  const apart = said.flatMap((line, i) =>
    Object.entries(wanted[i].probabilities).map(([label, p]) => Math.abs(p - line.probabilities[label])),
  );
  return Math.max(...apart);
}

test("an fp32 model says in the page what it says on the server", async () => {
  await opened({ model: join(folder, "fp32/monitor.onnx") }, async (tab) => {
    const said = await judged(tab, "speech.wav");
    const wanted = await expected("fp32");
    assert.deepEqual(said.map(judgement), wanted.map(judgement));
    const apart = difference(said, wanted);
    console.log(`fp32: ${apart.toExponential(1)} apart over ${said.length} windows`);
    assert.ok(apart < FP32_TOLERANCE);
  });
});

for (const isolated of [true, false]) {
  const threads = isolated ? "2 threads" : "1 thread";
  test(`the embedded int8 model says what the server says, but for int8's rounding, with ${threads}`, async () => {
    await opened({ isolated, path: "?threads=2" }, async (tab) => {
      const said = await judged(tab, "speech.wav");
      const wanted = await expected("int8");
      const apart = difference(said, wanted);
      console.log(`int8, ${threads}: ${apart.toExponential(1)} apart`);
      assert.ok(apart < INT8_TOLERANCE);
      assert.deepEqual(said.map(judgement), wanted.map((line, i) => settled(judgement(line), said[i], line)));
      const facts = await tab.locator("#facts").textContent();
      assert.ok(facts.includes(`WebAssembly, ${threads} ·`), facts);
    });
  });
}

test("a stereo recording at 44.1 kHz is brought to one channel at 16 kHz", async () => {
  await opened({}, async (tab) => {
    const said = await judged(tab, "wide.wav");
    const ends = (lines) => lines.map(({ end_s }) => end_s);
    assert.deepEqual(ends(said), ends(await expected("int8")));
  });
});

test("nothing is asked for once the model is loaded, and nothing ever from elsewhere", async () => {
  const strangers = [];
  const elsewhere = createServer((request, response) => {
    strangers.push(request.url);
    response.writeHead(200, { "Access-Control-Allow-Origin": "*" }).end();
  }).listen(0, "127.0.0.1");
  const requests = [];
  const site = await serve(page);
  const context = await browser.newContext();
  try {
    context.on("request", (request) => requests.push(request.url()));
    const tab = await context.newPage();
    await tab.goto(site.url);
    await tab.getByText("Ready.").waitFor({ timeout: SLOW_MS });
    const foreign = requests.filter((url) => !url.startsWith(site.url) && !url.startsWith("data:"));
    assert.deepEqual(foreign, []);
    assert.ok(requests.some((url) => url.endsWith("/monitor.onnx")), "workers' requests are seen");
    requests.length = 0;
    await context.setOffline(true);
    await judged(tab, "speech.wav");
    await context.setOffline(false);
    assert.deepEqual(requests.filter((url) => !url.startsWith("blob:")), []);
    const address = `http://127.0.0.1:${elsewhere.address().port}/`;
    const reached = await tab.evaluate((url) => fetch(url).then(() => true, () => false), address);
    assert.deepEqual([reached, strangers], [false, []]);
  } finally {
    await context.close();
    await site.close();
    elsewhere.close();
  }
});

test("the microphone is heard, judged each second, and let go of", async () => {
  await opened({}, async (tab) => {
    await tab.locator("#microphone").click();
    await tab.locator("#now[data-state=heard]").waitFor();
    await tab.getByText(/to [3-9]\.0 s/).waitFor();
    await tab.getByRole("button", { name: "Stop" }).click();
    await tab.getByText("Stopped.").waitFor();
  });
});

test("a microphone that is not allowed leaves a way on", async () => {
  const strict = await launch();
  const site = await serve(page);
  try {
    const tab = await strict.newPage();
    await tab.goto(site.url);
    await tab.getByText("Ready.").waitFor({ timeout: SLOW_MS });
    await tab.locator("#microphone").click();
    await tab.locator("#status[data-kind=problem]").waitFor();
    assert.match(await tab.locator("#status").textContent(), /permit it|plug one in/);
    await tab.locator("#file").setInputFiles(join(folder, "speech.wav"));
    await tab.getByText("speech.wav is judged").waitFor({ timeout: SLOW_MS });
  } finally {
    await strict.close();
    await site.close();
  }
});

test("a microphone that was opened for nothing is let go of", async () => {
  await opened({}, async (tab) => {
    await tab.evaluate(() => {
      const devices = navigator.mediaDevices;
      const ask = devices.getUserMedia.bind(devices);
      devices.getUserMedia = async (wanted) => (window.given = await ask(wanted));
      AudioWorklet.prototype.addModule = async () => {
        throw new Error("no worklet here");
      };
    });
    await tab.locator("#microphone").click();
    await tab.getByText("no worklet here").waitFor();
    const states = await tab.evaluate(() => window.given.getTracks().map((track) => track.readyState));
    assert.deepEqual(states, ["ended"]);
  });
});

test("a file that is no sound and a silent one are told apart from speech", async () => {
  await opened({}, async (tab) => {
    await writeFile(join(folder, "notes.wav"), "these are words");
    await tab.locator("#file").setInputFiles(join(folder, "notes.wav"));
    await tab.getByText("notes.wav: this browser cannot decode it").waitFor();
    const header = (await readFile(join(folder, "speech.wav"))).subarray(0, 44);
    await writeFile(join(folder, "silent.wav"), Buffer.concat([header, Buffer.alloc(64_000)]));
    await tab.locator("#file").setInputFiles(join(folder, "silent.wav"));
    await tab.getByText("Too quiet to judge").waitFor();
  });
});

test("another file in the model's place is refused in one line", async () => {
  const site = await serve(page, { model: join(folder, "speech.wav") });
  const tab = await browser.newPage();
  try {
    await tab.goto(site.url);
    await tab.getByText("monitor.onnx is not a model of emotion-export").waitFor({ timeout: SLOW_MS });
    assert.ok(await tab.locator("#microphone").isDisabled());
  } finally {
    await tab.close();
    await site.close();
  }
});

test("axe finds nothing to complain of, light or dark, before or after a judgement", async () => {
  await opened({}, async (tab) => {
    const source = await readFile(AXE, "utf8");
    for (const colorScheme of ["light", "dark"]) {
      await tab.emulateMedia({ colorScheme });
      await tab.evaluate(source);
      const { violations } = await tab.evaluate(() => window.axe.run());
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`), []);
      if (colorScheme === "light") await judged(tab, "speech.wav");
    }
  });
});
