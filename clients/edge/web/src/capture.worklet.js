/** The microphone's samples to the page, mixed to one channel, a tenth of a second at a time. */
const BLOCK_S = 0.1;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(Math.round(BLOCK_S * sampleRate));
    this.filled = 0;
  }

  /** @param {Float32Array[][]} inputs */
  process([channels]) {
    for (let i = 0; i < (channels[0]?.length ?? 0); i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.block[this.filled++] = sum / channels.length;
      if (this.filled === this.block.length) this.send();
    }
    return true;
  }

  send() {
    this.port.postMessage(this.block, [this.block.buffer]);
    this.block = new Float32Array(Math.round(BLOCK_S * sampleRate));
    this.filled = 0;
  }
}

registerProcessor("capture", Capture);
