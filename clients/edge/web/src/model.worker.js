/** The model in a thread of its own, so that the page stays smooth while a window is judged. */
import * as ort from "onnxruntime-web/wasm";
import glue from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import { contractOf } from "./metadata.js";

/** @type {ort.InferenceSession | undefined} */
let session;

onmessage = async ({ data }) => {
  try {
    if (data.url) postMessage({ id: data.id, result: await load(data.url, data.threads) });
    else postMessage({ id: data.id, result: await judge(data.waveform) });
  } catch (error) {
    postMessage({ id: data.id, error: error instanceof Error ? error.message : String(error) });
  }
};

/**
 * @param {string} url of a monitor.onnx
 * @param {number} threads more than one only where the page is cross-origin isolated
 */
async function load(url, threads) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  const contract = contractOf(bytes);
  ort.env.wasm.wasmPaths = {
    mjs: new URL(glue, import.meta.url).href,
    wasm: new URL(wasm, import.meta.url).href,
  };
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  return { contract, bytes: bytes.length };
}

/** @param {Float32Array} waveform at the model's rate, -1 to 1 */
async function judge(waveform) {
  if (!session) throw new Error("the model is not loaded");
  const begun = performance.now();
  const input = new ort.Tensor("float32", waveform, [1, waveform.length]);
  const { probabilities } = await session.run({ waveform: input }, ["probabilities"]);
  const row = /** @type {Float32Array} */ (probabilities.data);
  return { probabilities: [...row], ms: performance.now() - begun };
}
