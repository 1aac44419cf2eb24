/**
 * A played call center (played_calls.py) that does what a test tells it, and its dashboard.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import assert from "node:assert/strict";
import { ROOT } from "./harness.mjs";

const PYTHON = process.env.EMOTION_PYTHON ?? "python3";
const AXE = new URL("node_modules/axe-core/axe.min.js", import.meta.url);
const RULES = { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] };

export class Played {
  /** @param {string[]} args of played_calls.py */
  static async start(...args) {
    const command = ["-m", "tests.browser.played_calls", ...args];
    const child = spawn(PYTHON, command, { cwd: ROOT, stdio: ["pipe", "pipe", "inherit"] });
    const played = new Played(child);
    played.url = await played.line();
    return played;
  }

  constructor(child) {
    this.child = child;
    this.lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    this.url = "";
  }

  async line() {
    const { value, done } = await this.lines.next();
    if (done) throw new Error("the played call center is gone");
    return value;
  }

  /** Has something happen. @param {string} what @param {object} [how] */
  async do(what, how = {}) {
    this.child.stdin.write(JSON.stringify({ do: what, ...how }) + "\n");
    return JSON.parse(await this.line());
  }

  async stop() {
    const gone = once(this.child, "exit");
    this.child.stdin.end();
    await gone;
  }
}

/**
 * A dashboard in a window of its own, whose failures are the test's.
 *
 * @param {import("playwright-core").Browser} browser
 * @param {string} url
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export async function dashboard(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.on("pageerror", (error) => {
    throw error;
  });
  await page.goto(url);
  return page;
}

/** A call center with so many calls of so many seconds, and its dashboard, which shows them all. */
export async function played(browser, calls, seconds, { options = {}, args = [], query = "" } = {}) {
  const center = await Played.start("--calls", String(calls), "--past", String(seconds), ...args);
  const page = await dashboard(browser, `${center.url}/dashboard.html${query}`, options);
  await page.waitForFunction((n) => document.querySelector("#live")?.textContent === String(n), calls);
  return /** @type {const} */ ([center, page]);
}

/** Waits until every call on the board has lasted for so long. */
export function everyCallAt(page, time) {
  const met = (text) =>
    [...document.querySelectorAll("#board .card .time")].every((e) => e.textContent === text);
  return page.waitForFunction(met, time);
}

/** Waits until the dashboard's text at a selector is this. */
export async function reads(page, selector, text) {
  const args = [selector, text];
  const met = ([where, what]) => document.querySelector(where)?.textContent?.trim() === what;
  try {
    await page.waitForFunction(met, args);
  } catch {
    assert.equal((await page.textContent(selector)).trim(), text);
  }
}

/** The streams that are shown, in order. */
export function shown(page) {
  return page.locator("#board .card:not([inert]) .name").allTextContents();
}

/** Fails with what axe-core finds wrong. */
export async function accessible(page, where) {
  await page.evaluate(await readFile(AXE, "utf8"));
  const { violations } = await page.evaluate((rules) => globalThis.axe.run(document, rules), RULES);
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes[0].html} ${nodes[0].failureSummary}`);
  assert.deepEqual(found, [], where);
}
