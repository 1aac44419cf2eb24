/**
 * The model as the page sees it: promises, and a worker behind them.
 *
 * @typedef {import("./metadata.js").Contract} Contract
 * @typedef {{probabilities: number[], ms: number}} Judgement
 */

const MOST_THREADS = 4; // more gain nothing on windows of three seconds
const LOGICAL_CORES_A_THREAD = 2; // two of them share what multiplies

/** Threads that this device has cores for. */
const fitting = () =>
  Math.min(MOST_THREADS, Math.ceil(navigator.hardwareConcurrency / LOGICAL_CORES_A_THREAD));

export class Model {
  /**
   * @param {string} url of a monitor.onnx
   * @param {number} [threads] one where the page is not cross-origin isolated
   * @returns {Promise<Model>}
   */
  static async load(url, threads = fitting()) {
    const model = new Model(crossOriginIsolated ? threads : 1);
    const address = new URL(url, document.baseURI).href;
    const loaded = await model.#ask({ url: address, threads: model.threads });
    model.contract = loaded.contract;
    model.bytes = loaded.bytes;
    return model;
  }

  /** @param {number} threads */
  constructor(threads) {
    this.threads = threads;
    this.bytes = 0;
    this.contract = /** @type {Contract} */ ({});
    this.worker = new Worker(new URL("./model.worker.js", import.meta.url), { type: "module" });
    this.waiting = new Map();
    this.asked = 0;
    this.worker.onmessage = ({ data }) => {
      const { answer, fail } = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if ("error" in data) fail(new Error(data.error));
      else answer(data.result);
    };
    this.worker.onerror = (event) => {
      const error = new Error(event.message || "the worker could not be started");
      for (const { fail } of this.waiting.values()) fail(error);
      this.waiting.clear();
    };
  }

  /**
   * @param {Float32Array<ArrayBuffer>} waveform at the model's rate; it is the worker's from here on
   * @returns {Promise<Judgement>}
   */
  judge(waveform) {
    return this.#ask({ waveform }, [waveform.buffer]);
  }

  /**
   * @param {object} message
   * @param {Transferable[]} owned
   * @returns {Promise<any>}
   */
  #ask(message, owned = []) {
    const id = this.asked++;
    return new Promise((answer, fail) => {
      this.waiting.set(id, { answer, fail });
      this.worker.postMessage({ id, ...message }, owned);
    });
  }
}
