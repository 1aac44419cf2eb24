/**
 * The audio thread's part of the microphone: what the device gives, mixed, reduced and in frames. It
 * runs whether or not the tab is in front; frames are handed over, not copied.
 */
import { Framer, Reducer, mixed, reducedBy } from "./reduce.js";

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    const factor = reducedBy(sampleRate);
    this.reducer = new Reducer(factor);
    this.framer = new Framer(Math.round(sampleRate / factor), (frame) =>
      this.port.postMessage(frame, [frame.buffer]),
    );
  }

  /** @param {Float32Array[][]} inputs */
  process([channels]) {
    if (channels.length > 0) this.framer.feed(this.reducer.feed(mixed(channels)));
    return true;
  }
}

registerProcessor("capture", Capture);
