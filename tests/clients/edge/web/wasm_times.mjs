/** CPU time of a 3 s window in WebAssembly, one thread, without a page: node wasm_times.mjs MODEL... */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { WEB } from "./site.mjs";

const RUNS = 14;
const SAMPLES = 48_000;

const ort = await import(join(WEB, "node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs"));
ort.env.wasm.numThreads = 1;
const waveform = Float32Array.from({ length: SAMPLES }, (_, i) => 0.1 * Math.sin(1e-5 * i * i));
const sessions = await Promise.all(
  process.argv.slice(2).map(async (path) => ort.InferenceSession.create(await readFile(path))),
);
const took = sessions.map(() => []);
for (let run = 0; run < RUNS; run++) {
  for (const [i, session] of sessions.entries()) { // by turns, so that all are disturbed alike
    const before = process.cpuUsage();
    await session.run({ waveform: new ort.Tensor("float32", waveform, [1, SAMPLES]) });
    const { user, system } = process.cpuUsage(before);
    took[i].push((user + system) / 1e3);
  }
}
for (const [i, times] of took.entries()) {
  const median = times.sort((a, b) => a - b)[RUNS >> 1];
  console.log(`${process.argv[2 + i]}: CPU time ${median.toFixed(0)} ms, median of ${RUNS}`);
}
