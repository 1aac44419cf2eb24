import { createReadStream, readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { defaultClientConditions, defineConfig } from "vite";

const HERE = import.meta.dirname;
const MODEL = resolve(HERE, process.env.EMOTION_MODEL ?? "../../../emotion/models/default/monitor.onnx");

// Threads of WebAssembly share memory, which browsers allow only to pages that are isolated by these.
const ISOLATED = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

/** The model beside the page, as monitor.onnx: read from where it lies, so that there is one copy. */
function model() {
  return {
    name: "model",
    /** @param {import("vite").ViteDevServer} server */
    configureServer(server) {
      server.middlewares.use("/monitor.onnx", (_, response) => {
        response.setHeader("Content-Length", statSync(MODEL).size);
        createReadStream(MODEL).pipe(response);
      });
    },
    /** @this {import("rolldown").PluginContext} */
    generateBundle() {
      this.emitFile({ type: "asset", fileName: "monitor.onnx", source: readFileSync(MODEL) });
    },
  };
}

export default defineConfig({
  base: "./",
  plugins: [model()],
  // Otherwise the runtime's own loader is part of the worker, and every thread would start that again.
  resolve: { conditions: ["onnxruntime-web-use-extern-wasm", ...defaultClientConditions] },
  optimizeDeps: { exclude: ["onnxruntime-web"] },
  worker: { format: "es" },
  build: {
    target: "es2023",
    assetsInlineLimit: 0, // a data: URL would need a weaker Content-Security-Policy
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1_000,
  },
  server: { headers: ISOLATED, fs: { allow: [resolve(HERE, "../..")] } },
  preview: { headers: ISOLATED },
});
