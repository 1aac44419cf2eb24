/** Sound from a microphone or a file; the browser itself resamples it. Problems say what to do. */
import capture from "./capture.worklet.js?url";

// A model that has to hear how loud and how harsh a voice is must not get it levelled.
const AS_IT_IS = {
  channelCount: 1,
  echoCancellation: false,
  noiseSuppression: false,
  autoGainControl: false,
};
const MOST_BYTES = 200e6; // a decoded hour of stereo takes 460 MB of memory

/**
 * @param {File} file anything that the browser can decode
 * @param {number} rate Hz
 * @returns {Promise<Float32Array<ArrayBuffer>>} one channel at that rate, -1 to 1
 */
export async function decoded(file, rate) {
  if (file.size > MOST_BYTES) {
    throw new Error(`${file.name} is larger than ${MOST_BYTES / 1e6} MB: cut it into shorter ones.`);
  }
  let sound;
  try {
    sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new Error(`${file.name}: this browser cannot decode it; WAV, MP3 and Opus are safe choices.`);
  }
  return mixed(sound);
}

/**
 * @param {Float32Array<ArrayBuffer>} samples
 * @param {number} from Hz
 * @param {number} to Hz
 */
export async function resampled(samples, from, to) {
  if (from === to) return samples;
  const length = Math.round((samples.length * to) / from);
  const context = new OfflineAudioContext(1, length, to);
  const source = context.createBufferSource();
  source.buffer = context.createBuffer(1, samples.length, from);
  source.buffer.copyToChannel(samples, 0);
  source.connect(context.destination);
  source.start();
  return (await context.startRendering()).getChannelData(0);
}

/** A microphone that is open; made by `Microphone.open`. */
export class Microphone {
  /**
   * @param {number} rate Hz; where the browser cannot bring the device to it, `.rate` is the device's
   * @param {(samples: Float32Array) => void} heard
   * @param {() => void} lost the device is gone
   */
  static async open(rate, heard, lost) {
    if (!navigator.mediaDevices) {
      throw new Error("A microphone needs HTTPS or localhost; a recording can be judged here too.");
    }
    const stream = await navigator.mediaDevices
      .getUserMedia({ audio: AS_IT_IS })
      .catch((error) => Promise.reject(new Error(reason(error))));
    try {
      const { context, source } = listening(stream, rate);
      await context.audioWorklet.addModule(capture);
      await context.resume();
      const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
      node.port.onmessage = ({ data }) => heard(data);
      stream.getAudioTracks()[0].onended = lost;
      source.connect(node);
      return new Microphone(stream, context);
    } catch (error) {
      for (const track of stream.getTracks()) track.stop(); // no button would
      throw error;
    }
  }

  /**
   * @param {MediaStream} stream
   * @param {AudioContext} context
   */
  constructor(stream, context) {
    this.stream = stream;
    this.context = context;
    this.rate = context.sampleRate;
  }

  async close() {
    for (const track of this.stream.getTracks()) track.stop();
    await this.context.close();
  }
}

/**
 * At the rate asked for, or at the device's where the browser does not resample (Firefox).
 *
 * @param {MediaStream} stream
 * @param {number} rate
 */
function listening(stream, rate) {
  for (const options of [{ sampleRate: rate }, {}]) {
    const context = new AudioContext(options);
    try {
      return { context, source: context.createMediaStreamSource(stream) };
    } catch {
      context.close();
    }
  }
  throw new Error("This browser cannot read the microphone: try a recording.");
}

/** @param {unknown} error of getUserMedia */
function reason(error) {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError") {
    return "The microphone is not allowed: permit it beside the address, then press the button again.";
  }
  if (name === "NotFoundError") return "No microphone was found: plug one in, or choose a recording.";
  return `The microphone cannot be used (${name}): does another program hold it?`;
}

/**
 * @param {AudioBuffer} sound
 * @returns {Float32Array<ArrayBuffer>} the mean of its channels
 */
function mixed(sound) {
  const mono = sound.getChannelData(0);
  const count = sound.numberOfChannels;
  for (let channel = 1; channel < count; channel++) {
    const other = sound.getChannelData(channel);
    for (let i = 0; i < mono.length; i++) mono[i] += other[i];
  }
  if (count > 1) for (let i = 0; i < mono.length; i++) mono[i] /= count;
  return mono;
}
