/** The built page on a port of this machine, with the headers and the model that a test wants. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream, existsSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { ROOT } from "../../../browser/harness.mjs";

export const WEB = join(ROOT, "clients/edge/web");
const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".wasm": "application/wasm",
};
const ISOLATED = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

/**
 * Builds the page.
 *
 * @param {string} folder where to
 */
export async function build(folder) {
  const vite = join(WEB, "node_modules/vite/bin/vite.js");
  const command = [vite, "build", "--logLevel", "warn", "--outDir", folder, "--emptyOutDir"];
  const child = spawn(process.execPath, command, { cwd: WEB, stdio: ["ignore", "inherit", "inherit"] });
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error(`vite build exited with ${code}`);
}

/**
 * Serves a built page until `.close()`.
 *
 * @param {string} folder
 * @param {{isolated?: boolean, model?: string}} options model: another file in place of the page's own
 * @returns {Promise<{url: string, close: () => Promise<unknown>}>}
 */
export async function serve(folder, { isolated = true, model } = {}) {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://x");
    const own = join(folder, pathname === "/" ? "index.html" : pathname);
    const file = pathname === "/monitor.onnx" && model ? model : own;
    if (!existsSync(file)) return response.writeHead(404).end();
    const type = TYPES[extname(file)] ?? "application/octet-stream";
    response.writeHead(200, { "Content-Type": type, ...(isolated ? ISOLATED : {}) });
    createReadStream(file).pipe(response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    close: () => new Promise((closed) => (server.close(closed), server.closeAllConnections())),
  };
}
