/**
 * What the tests of the browser client share: sounds, a line that can be cut, what a page said and
 * heard.
 */
import { readFileSync, mkdtempSync, writeFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { python } from "./harness.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** A folder that goes with the process. */
export const folder = mkdtempSync(join(tmpdir(), "emotion-page-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

/** @param {string[]} args of sounds.py, without the folder of the files */
export async function sound(kind, name, ...args) {
  const path = join(folder, name);
  await python("tests/browser/sounds.py", kind, path, ...args);
  return path;
}

/** The events of a file as `emotion-client file` prints them. */
export async function fileEvents(url, path, ...more) {
  const base = url.replace("http", "ws");
  const options = ["--url", base, "--hop", "0.5", "--speed", "max", "--json", ...more];
  const text = await python("-m", "clients", "file", path, ...options);
  return text.trim().split("\n").map((line) => JSON.parse(line)).filter(isEvent);
}

export const isEvent = (message) => message.type === "emotion" || message.type === "silence";

/** What the page says and hears on its WebSockets, from now on. */
export class Ear {
  constructor(page) {
    this.sent = [];
    this.audio = [];
    this.heard = [];
    page.on("websocket", (socket) => {
      socket.on("framesent", ({ payload }) =>
        typeof payload === "string" ? this.sent.push(JSON.parse(payload)) : this.audio.push(payload),
      );
      socket.on("framereceived", ({ payload }) => this.heard.push(JSON.parse(String(payload))));
    });
  }

  get events() {
    return this.heard.filter(isEvent);
  }

  get rate() {
    return this.sent.find(({ type }) => type === "start").sample_rate;
  }

  /** The sound that the page sent, as a WAV file. */
  save(name) {
    const data = Buffer.concat(this.audio);
    const head = Buffer.alloc(44);
    head.write("RIFF", 0);
    head.writeUInt32LE(36 + data.length, 4);
    head.write("WAVEfmt ", 8);
    head.writeUInt32LE(16, 16);
    head.writeUInt16LE(1, 20);
    head.writeUInt16LE(1, 22);
    head.writeUInt32LE(this.rate, 24);
    head.writeUInt32LE(2 * this.rate, 28);
    head.writeUInt16LE(2, 32);
    head.writeUInt16LE(16, 34);
    head.write("data", 36);
    head.writeUInt32LE(data.length, 40);
    const path = join(folder, name);
    writeFileSync(path, Buffer.concat([head, data]));
    return path;
  }
}

/** A line to a server that can be cut, and led to another server under the same address. */
export class Line {
  static async to(port) {
    const line = new Line();
    line.port = port;
    line.sockets = new Set();
    line.server = createServer((near) => {
      const far = connect(line.port, "127.0.0.1");
      for (const [one, other] of [[near, far], [far, near]]) {
        line.sockets.add(one);
        one.on("error", () => other.destroy());
        one.on("close", () => (line.sockets.delete(one), other.destroy()));
        one.pipe(other);
      }
    });
    await new Promise((done) => line.server.listen(0, "127.0.0.1", done));
    line.url = `http://127.0.0.1:${line.server.address().port}`;
    return line;
  }

  cut() {
    for (const socket of this.sockets) socket.destroy();
  }

  async close() {
    this.cut();
    await new Promise((done) => this.server.close(done));
  }
}

/** Waits until something holds on this side; the test's own limit ends what never does. */
export async function until(condition) {
  while (!(await condition())) await new Promise((done) => setTimeout(done, 50));
}

/** What axe finds wrong with the page as it is: one line a violation. */
export async function violations(page) {
  await page.evaluate(AXE);
  const found = await page.evaluate(() => globalThis.axe.run(document));
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map((n) => n.html).join(" | ")}`);
}

/** Collects each word that the page shows large, from now on, into `window.shown`. */
export async function watchWords(page) {
  await page.evaluate(() => {
    const word = document.getElementById("emotion");
    globalThis.shown = [];
    new MutationObserver(() => globalThis.shown.push(word.textContent)).observe(word, {
      childList: true,
      characterData: true,
      subtree: true,
    });
  });
}

/** Without what follows its like. */
export function changes(words) {
  return words.filter((word, i) => word !== words[i - 1]);
}
