/** Each trouble has a message and a way on; in no state does axe find anything, in light and in dark. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { Server, launch, python } from "./harness.mjs";
import { Ear, folder, sound, until, violations } from "./support.mjs";

const LIMIT = { timeout: 120_000 };
/** @type {Server} */ let server;
/** @type {import("playwright-core").Browser} */ let browser;

before(async () => {
  const microphone = await sound("speech", "speech.wav", "12");
  const one = ["--max-sessions", "1"];
  [server, browser] = await Promise.all([Server.start(...one), launch({ microphone })]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** @param {object} options of the page */
async function open(options = {}, url = server.url) {
  const page = await browser.newPage(options);
  page.on("pageerror", (error) => assert.fail(error));
  await page.goto(url);
  return page;
}

/** The page with a microphone that fails in this way. */
async function failing(name) {
  const page = await browser.newPage();
  await page.addInitScript((name) => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", name));
  }, name);
  await page.goto(server.url);
  await page.click("#microphone");
  await page.waitForSelector("#trouble:visible");
  return page;
}

for (const colorScheme of ["light", "dark"]) {
  test(`axe finds nothing in any state of the page that is ${colorScheme}`, LIMIT, async () => {
    const page = await open({ colorScheme });
    const ear = new Ear(page);
    await page.reload();
    assert.deepEqual(await violations(page), [], "at rest");
    await page.click("#microphone");
    await until(() => ear.events.some(({ type }) => type === "emotion"));
    assert.deepEqual(await violations(page), [], "listening");

    const other = await open({ colorScheme });
    await other.click("#microphone"); // the only slot is taken
    await other.waitForSelector("#trouble:visible");
    assert.match(await other.textContent("#trouble-title"), /full/);
    assert.deepEqual(await violations(other), [], "full");
    await page.click("#stop");
    await page.waitForSelector("#microphone:visible");
    assert.deepEqual(await violations(page), [], "stopped");
    // The slot is free: whoever waited gets it without doing anything.
    await other.waitForSelector("#connection-text:text('Live')");
    assert.equal(await other.isVisible("#trouble"), false);
    await page.close();
    await other.close();
  });
}

for (const [name, says] of [
  ["NotAllowedError", /not permitted/],
  ["NotFoundError", /No microphone/],
  ["NotReadableError", /cannot be opened/],
]) {
  test(`a microphone that fails with ${name} is explained, and can be tried again`, LIMIT, async () => {
    const page = await failing(name);
    assert.match(await page.textContent("#trouble-title"), says);
    assert.equal(await page.isVisible("#way"), true);
    await page.click("#way");
    await page.waitForSelector("#trouble:visible");
    await page.click("#dismiss");
    assert.equal(await page.isVisible("#trouble"), false);
    assert.equal(await page.isVisible("#microphone"), true);
    await page.close();
  });
}

test("a permission that the browser itself refuses is explained", LIMIT, async () => {
  const strict = await launch();
  try {
    const page = await (await strict.newContext({ permissions: [] })).newPage();
    await page.goto(server.url);
    await page.click("#microphone");
    await page.waitForSelector("#trouble:visible");
    assert.match(await page.textContent("#trouble-title"), /not permitted|No microphone/);
  } finally {
    await strict.close();
  }
});

test("a page that is not on HTTPS or localhost says what to do, and a recording works there",
  LIMIT, async () => {
  const far = await launch({ args: ["--host-resolver-rules=MAP monitor.test 127.0.0.1"] });
  const guest = await Server.start("--origins", "http://monitor.test");
  const port = guest.port;
  await guest.stop();
  const open = await Server.start("--port", String(port), "--origins", `http://monitor.test:${port}`);
  try {
    const page = await far.newPage();
    const ear = new Ear(page);
    await page.goto(`http://monitor.test:${port}/`);
    await page.click("#microphone");
    assert.match(await page.textContent("#trouble-text"), /HTTPS or localhost.*--tls-cert/);
    await page.setInputFiles("#file", await sound("speech", "short.wav", "3"));
    await until(() => ear.events.length > 0);
  } finally {
    await far.close();
    await open.stop();
  }
});

test("a microphone that is unplugged keeps what was heard, and can be gone on with", LIMIT, async () => {
  const page = await browser.newPage();
  await page.addInitScript(() => {
    const own = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wish) => {
      const media = await own(wish);
      globalThis.unplug = () => media.getTracks()[0].dispatchEvent(new Event("ended"));
      return media;
    };
  });
  const ear = new Ear(page);
  await page.goto(server.url);
  await page.click("#microphone");
  await until(() => ear.events.length > 0);
  await page.evaluate(() => globalThis.unplug());
  await page.waitForSelector("#microphone:visible");
  assert.match(await page.textContent("#trouble-title"), /went away/);
  const count = ear.events.length;
  await page.click("#way");
  await until(() => ear.events.length > count);
  assert.equal(await page.isVisible("#trouble"), false);
  await page.close();
});

test("a microphone that the browser pauses is missed, one that a busy page hears late is not",
  LIMIT, async () => {
  const page = await browser.newPage();
  await page.addInitScript(() => {
    const Own = globalThis.AudioContext;
    globalThis.AudioContext = class extends Own {
      constructor() {
        super();
        globalThis.context = this;
      }
    };
  });
  const ear = new Ear(page);
  await page.goto(server.url);
  await page.click("#microphone");
  await until(() => ear.events.length > 0);
  const wait = (ms) => page.evaluate((ms) => new Promise((done) => setTimeout(done, ms)), ms);
  await page.evaluate(() => {
    const end = performance.now() + 2500;
    while (performance.now() < end);
  });
  await wait(1500);
  assert.equal(await page.isVisible("#trouble"), false);
  await page.evaluate(() => {
    globalThis.context.resume = () => Promise.reject(new Error("the system holds it"));
    return globalThis.context.suspend();
  });
  await page.waitForSelector("#trouble[data-code=starved]:visible");
  assert.equal(await page.textContent("#connection-text"), "No sound comes");
  await page.evaluate(() => {
    delete globalThis.context.resume;
    return globalThis.context.resume();
  });
  await page.waitForSelector("#trouble[data-code=paused]:visible");
  const count = ear.events.length;
  await page.evaluate(() => globalThis.context.suspend()); // and nobody asks for it to go on
  await until(() => ear.events.length > count + 2);
  await page.click("#stop");
  await page.waitForSelector("#microphone:visible");
  await page.close();
});

test("a recording goes on where the browser holds the page's own timers back", LIMIT, async () => {
  const page = await browser.newPage();
  await page.addInitScript(() => (globalThis.setInterval = () => 0)); // as good as in a hidden tab
  const ear = new Ear(page);
  await page.goto(server.url);
  await page.setInputFiles("#file", await sound("speech", "hidden.wav", "3"));
  await until(() => ear.heard.some(({ type }) => type === "summary"));
  assert.ok(ear.events.length > 0);
  await page.close();
});

test("what is not sound, and what holds none, is said to be so", LIMIT, async () => {
  const page = await open();
  writeFileSync(`${folder}/words.wav`, "these are words");
  await page.setInputFiles("#file", `${folder}/words.wav`);
  await page.waitForSelector("#trouble:visible");
  assert.match(await page.textContent("#trouble-text"), /WAV, FLAC.*words\.wav/);
  assert.deepEqual(await violations(page), []);
  await page.close();
});

test("a recording that is small and would take hours is refused before it is decoded", LIMIT, async () => {
  const page = await browser.newPage();
  await page.addInitScript(() => {
    OfflineAudioContext.prototype.decodeAudioData = () => (globalThis.decoded = true);
  });
  await page.goto(server.url);
  const seconds = 2 * 3600 + 1;
  const head = Buffer.alloc(44); // 8 bits, 8 kHz
  head.write("RIFF", 0);
  head.writeUInt32LE(36 + 8000 * seconds, 4);
  head.write("WAVEfmt ", 8);
  [16, 8000, 8000].forEach((n, i) => head.writeUInt32LE(n, [16, 24, 28][i]));
  [1, 1, 1, 8].forEach((n, i) => head.writeUInt16LE(n, [20, 22, 32, 34][i]));
  head.write("data", 36);
  head.writeUInt32LE(8000 * seconds, 40);
  writeFileSync(`${folder}/long.wav`, Buffer.concat([head, Buffer.alloc(8000 * seconds, 128)]));
  await page.setInputFiles("#file", `${folder}/long.wav`);
  await page.waitForSelector("#trouble[data-code=long]:visible");
  assert.match(await page.textContent("#trouble-text"), /two hours.*emotion-client file.*long\.wav/);
  assert.equal(await page.evaluate(() => globalThis.decoded), undefined);
  await page.close();
});

test("a recording that decodes to more than the page holds is refused", LIMIT, async () => {
  const page = await browser.newPage();
  await page.addInitScript(() => {
    const length = 2 ** 26 + 1;
    OfflineAudioContext.prototype.decodeAudioData = async () =>
      ({ length, numberOfChannels: 2, duration: 1400 });
  });
  await page.goto(server.url);
  await page.setInputFiles("#file", await sound("speech", "wide.wav", "1"));
  await page.waitForSelector("#trouble[data-code=long]:visible");
  await page.close();
});

test("a server with tokens asks for one, takes it, and it is gone with the tab", LIMIT, async () => {
  const [token, table] = split(await python("-m", "stream_server", "--new-token", "page"));
  writeFileSync(`${folder}/server.toml`, table);
  const guarded = await Server.start("--config", `${folder}/server.toml`);
  try {
    const page = await open({}, guarded.url);
    const ear = new Ear(page);
    await page.waitForSelector("#token-form:visible");
    assert.deepEqual(await violations(page), []);
    await page.fill("#token", "not the token");
    await page.keyboard.press("Enter");
    await page.click("#microphone");
    await page.waitForSelector("#token-form:visible");
    assert.match(await page.textContent("#trouble-title"), /does not take this token/);
    await page.fill("#token", token);
    await page.keyboard.press("Enter"); // and what was asked for begins
    await until(() => ear.events.length > 0);
    assert.equal(await page.evaluate(() => JSON.stringify(localStorage)), "{}");
    assert.equal(await page.evaluate(() => document.cookie + location.search), "");
    await page.close();
  } finally {
    await guarded.stop();
  }
});

test("both pages work where the browser forbids them to keep anything", LIMIT, async () => {
  const page = await browser.newPage();
  page.on("pageerror", (error) => assert.fail(error));
  await page.addInitScript(() => {
    for (const name of ["sessionStorage", "localStorage"]) {
      Object.defineProperty(globalThis, name, {
        get: () => {
          throw new DOMException("forbidden", "SecurityError");
        },
      });
    }
  });
  const ear = new Ear(page);
  await page.goto(server.url);
  await page.click("#microphone");
  await until(() => ear.events.length > 0);
  await page.goto(`${server.url}/dashboard`);
  await page.waitForSelector("#connection-text:text('Live')");
  await page.close();
});

test("everything can be reached and worked by keyboard", LIMIT, async () => {
  const page = await open();
  const ear = new Ear(page);
  await page.reload();
  const reached = [];
  for (let i = 0; i < 8; i++) {
    await page.keyboard.press("Tab");
    reached.push(await page.evaluate(() => document.activeElement.id || document.activeElement.tagName));
  }
  const expected = ["microphone", "file", "timeline", "SUMMARY"];
  assert.deepEqual(expected.filter((id) => !reached.includes(id)), []);
  await page.focus("#microphone");
  await page.keyboard.press("Enter");
  await until(() => ear.events.length > 0);
  assert.equal(await page.evaluate(() => document.activeElement.id), "stop");
  await page.focus("#timeline");
  await page.keyboard.press("ArrowLeft");
  assert.match(await page.getAttribute("#timeline", "aria-valuetext"), /s ago/);
  await page.focus("#stop");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#microphone:visible");
  await page.close();
});

/** The token, and the settings that know it, out of what `--new-token` printed. */
function split(text) {
  const lines = text.split("\n");
  const begin = lines.findIndex((line) => line.startsWith("[[tokens]]"));
  const token = lines.slice(0, begin).join(" ").trim().split(/\s+/).at(-1);
  return [token, lines.slice(begin).join("\n")];
}
