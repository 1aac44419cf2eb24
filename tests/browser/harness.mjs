/**
 * A real server, a real Chromium, and what tests of the pages share.
 *
 * Python is `$EMOTION_PYTHON` (else `python3`), Chromium `$EMOTION_CHROMIUM` (else Debian's).
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const PYTHON = process.env.EMOTION_PYTHON ?? "python3";
const CHROMIUM = process.env.EMOTION_CHROMIUM ?? "/usr/bin/chromium";
const QUIET = [
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
];

/**
 * Runs Python in the project's folder to its end; gives what it printed.
 *
 * @param {string[]} args
 * @returns {Promise<string>}
 */
export async function python(...args) {
  const child = spawn(PYTHON, args, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.on("data", (chunk) => (text += chunk));
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`python ${args.join(" ")} exited with ${code}`);
  return text;
}

/** A server in a process of its own, on a free port of this machine unless it is given one. */
export class Server {
  /** @param {string[]} args more of the command line */
  static async start(...args) {
    const command = ["-m", "stream_server", "--port", "0", ...args];
    const child = spawn(PYTHON, command, { cwd: ROOT, stdio: ["ignore", "ignore", "pipe"] });
    const server = new Server(child);
    let log = "";
    await new Promise((found, failed) => {
      child.once("exit", (code) => failed(new Error(`the server exited with ${code}:\n${log}`)));
      child.stderr.on("data", (chunk) => {
        log += chunk;
        const match = /listening on (wss?):\/\/(\S+)/.exec(log);
        if (match) {
          server.url = `${match[1] === "wss" ? "https" : "http"}://${match[2]}`;
          found(undefined);
        }
      });
    });
    return server;
  }

  constructor(child) {
    this.child = child;
    this.url = "";
  }

  get port() {
    return Number(new URL(this.url).port);
  }

  /** @param {NodeJS.Signals} signal SIGTERM drains, SIGKILL does not */
  async stop(signal = "SIGTERM") {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill(signal);
    await once(this.child, "exit");
  }
}

/**
 * Chromium; with a WAV file in the place of its microphone where one is given.
 *
 * @param {{microphone?: string, args?: string[]}} options
 */
export function launch({ microphone, args = [] } = {}) {
  const fake = microphone
    ? [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        `--use-file-for-fake-audio-capture=${microphone}`,
      ]
    : [];
  return chromium.launch({
    executablePath: CHROMIUM,
    chromiumSandbox: false,
    args: [...QUIET, ...fake, ...args],
  });
}
