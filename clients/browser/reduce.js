/**
 * From the device's samples to the stream's: one channel, at most 48 kHz, int16, in frames of equal
 * length. Pure, so that the worklet and the tests run the same.
 *
 * A device at 96 or 192 kHz is reduced here, by a whole factor and behind a low-pass filter (without
 * one, what is above the new half rate would fold down into the voice). Not by
 * `AudioContext({sampleRate})`: Firefox connects no microphone to a context of another rate than its
 * own.
 */

export const MAX_RATE = 48_000; // Hz that the server takes
const FRAME_S = 0.05;
const TAPS_PER_PHASE = 48; // transition from 0.4 to 0.5 of the new rate, stop band below -70 dB
const KAISER_BETA = 7;

/** @param {number} rate of the device, Hz */
export function reducedBy(rate) {
  return Math.max(1, Math.ceil(rate / MAX_RATE));
}

/** Samples of one channel, at any chunk length, at a rate lower by a whole factor. */
export class Reducer {
  /** @param {number} factor */
  constructor(factor) {
    this.factor = factor;
    this.taps = lowPass(factor);
    this.past = new Float32Array(factor === 1 ? 0 : this.taps.length - 1);
    this.phase = 0; // samples to skip before the next one that is kept
  }

  /**
   * @param {Float32Array} samples
   * @returns {Float32Array}
   */
  feed(samples) {
    if (this.factor === 1) return samples;
    const all = new Float32Array(this.past.length + samples.length);
    all.set(this.past);
    all.set(samples, this.past.length);
    const count = Math.max(0, Math.ceil((samples.length - this.phase) / this.factor));
    const kept = new Float32Array(count);
    for (let i = 0; i < count; i++) {
      const begin = this.phase + i * this.factor;
      let sum = 0;
      for (let k = 0; k < this.taps.length; k++) sum += this.taps[k] * all[begin + k];
      kept[i] = sum;
    }
    this.phase += count * this.factor - samples.length;
    this.past = all.slice(samples.length);
    return kept;
  }
}

/** Fills frames of equal length with int16, however the samples come. */
export class Framer {
  /**
   * @param {number} rate of the samples, Hz
   * @param {(frame: Int16Array<ArrayBuffer>) => void} onFrame gets each full frame for itself
   */
  constructor(rate, onFrame) {
    this.size = Math.round(rate * FRAME_S);
    this.onFrame = onFrame;
    this.frame = new Int16Array(this.size);
    this.filled = 0;
  }

  /** @param {Float32Array} samples -1 to 1 */
  feed(samples) {
    for (const sample of samples) {
      this.frame[this.filled++] = toInt16(sample);
      if (this.filled < this.size) continue;
      this.onFrame(this.frame);
      this.frame = new Int16Array(this.size);
      this.filled = 0;
    }
  }
}

/**
 * The same rounding as the Python clients' `to_pcm`; what is not a number is silence.
 *
 * @param {number} sample
 */
export function toInt16(sample) {
  return Math.max(-32768, Math.min(32767, roundToEven(sample * 32768))) || 0;
}

/**
 * @param {Float32Array[]} channels of equal length
 * @returns {Float32Array} their mean
 */
export function mixed(channels) {
  if (channels.length === 1) return channels[0];
  const mean = new Float32Array(channels[0]?.length ?? 0);
  for (const channel of channels) for (let i = 0; i < mean.length; i++) mean[i] += channel[i];
  for (let i = 0; i < mean.length; i++) mean[i] /= channels.length;
  return mean;
}

/** @param {number} value */
function roundToEven(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/**
 * A windowed sinc (Kaiser) that passes 0 to 0.4 of the reduced rate and stops from 0.5 of it on.
 *
 * @param {number} factor
 */
function lowPass(factor) {
  const count = TAPS_PER_PHASE * factor + 1;
  const middle = (count - 1) / 2;
  const cutoff = 0.45 / factor; // of the device's rate
  const taps = Float64Array.from({ length: count }, (_, k) => {
    const x = k - middle;
    const sinc = x === 0 ? 2 * cutoff : Math.sin(2 * Math.PI * cutoff * x) / (Math.PI * x);
    return sinc * bessel(KAISER_BETA * Math.sqrt(1 - (x / middle) ** 2));
  });
  const gain = taps.reduce((sum, tap) => sum + tap, 0);
  return taps.map((tap) => tap / gain);
}

/**
 * The modified Bessel function of the first kind, order 0, by its series.
 *
 * @param {number} x
 */
function bessel(x) {
  let [sum, term] = [1, 1];
  for (let k = 1; term > 1e-12 * sum; k++) sum += term *= (x / (2 * k)) ** 2;
  return sum;
}
