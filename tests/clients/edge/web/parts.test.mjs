/** The parts of the page that need no browser. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { contractOf } from "../../../../clients/edge/web/src/metadata.js";
import { Windows } from "../../../../clients/edge/web/src/windows.js";
import { ROOT } from "../../../browser/harness.mjs";

const RATE = 1000;
const counted = (length) => Float32Array.from({ length }, (_, i) => i + 1);

/** All windows of so many samples that come in blocks of this size. */
function cut(length, block) {
  const windows = new Windows(RATE);
  const samples = counted(length);
  const found = [];
  for (let from = 0; from < length; from += block) {
    found.push(...windows.feed(samples.subarray(from, from + block)));
  }
  return [...found, ...windows.finish()];
}

test("a window ends every second, covers the last three, and holds just those samples", () => {
  for (const { start, end, samples } of cut(6 * RATE, RATE)) {
    const wanted = counted(6 * RATE).slice(start * RATE, end * RATE);
    assert.deepEqual(samples, wanted);
  }
  const spans = cut(5 * RATE, RATE).map(({ start, end }) => [start, end]);
  assert.deepEqual(spans, [[0, 1], [0, 2], [0, 3], [1, 4], [2, 5]]);
});

test("what is left is one more window if half a second of it is new", () => {
  const ends = (length) => cut(length, RATE).map(({ end }) => end);
  assert.deepEqual(ends(0), []);
  assert.deepEqual(ends(499), []);
  assert.deepEqual(ends(500), [0.5]);
  assert.deepEqual(ends(1499), [1]);
  assert.deepEqual(ends(1500), [1, 1.5]);
});

test("windows do not depend on how the samples come", () => {
  const whole = cut(4_700, 4_700);
  for (const block of [1, 7, 100, 999, 1_001, 3_500]) assert.deepEqual(cut(4_700, block), whole);
});

test("the contract is read from the embedded model", async () => {
  const model = await readFile(join(ROOT, "emotion/models/default/monitor.onnx"));
  const { labels, rate, maxSamples, precision } = contractOf(model);
  assert.equal(labels.length, 8);
  assert.deepEqual([labels[0], rate, maxSamples, precision], ["neutral", 16_000, 480_000, "int8"]);
});

test("no model, half a model and random bytes are refused in one line", async () => {
  const model = await readFile(join(ROOT, "emotion/models/default/monitor.onnx"));
  const noise = Uint8Array.from({ length: 5_000 }, (_, i) => (i * 7919) % 251);
  const cases = [new Uint8Array(), model.subarray(0, model.length / 2), model.subarray(0, -1), noise];
  for (const bytes of cases) {
    assert.throws(() => contractOf(bytes), /^Error: monitor.onnx is not a model of emotion-export: .+$/);
  }
});
