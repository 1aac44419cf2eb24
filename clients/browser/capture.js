/**
 * Where sound comes from: a microphone or a recording, as frames of int16. No DOM beyond the Web Audio
 * API.
 */
import { every } from "./pulse.js";
import { Framer, MAX_RATE, mixed, reducedBy } from "./reduce.js";

/**
 * Something that gives sound until it is closed.
 *
 * @typedef {object} Source
 * @property {number} sampleRate Hz, as the stream is to be started with
 * @property {string} name
 * @property {number | null} durationS where that is known
 * @property {(listener: SourceListener) => void} begin
 * @property {() => void} close
 *
 * @typedef {object} SourceListener
 * @property {(frame: Int16Array<ArrayBuffer>) => void} onFrame
 * @property {(code: "finished" | "unplugged") => void} onEnd no more comes
 * @property {(muted: boolean) => void} onMute the system holds the sound back, or gives it again
 */

export const MAX_FILE_BYTES = 64 * 2 ** 20;
export const MAX_RECORDING_S = 2 * 3600;
const MAX_DECODED_BYTES = 512 * 2 ** 20; // a small file may hold days
const LENGTH_MS = 3000; // for the browser to tell how long a file plays
const USUAL_RATE = 48_000;
const TICK_MS = 50;
/** @type {Record<string, string>} */
const REFUSALS = {
  NotAllowedError: "refused",
  SecurityError: "refused",
  NotFoundError: "missing",
  OverconstrainedError: "missing",
  NotReadableError: "busy",
  AbortError: "busy",
};

/** A source that cannot be had; `code` says why, for `troubles.js` to say what to do. */
export class SourceError extends Error {
  /**
   * @param {string} code
   * @param {string} [detail]
   */
  constructor(code, detail = "") {
    super(detail || code);
    this.code = code;
    this.detail = detail;
  }
}

/**
 * The microphone, at the device's own rate where the server takes that. What browsers do to make calls
 * pleasant (gain, noise, echo) is off: it changes how a voice sounds.
 *
 * @returns {Promise<Source>}
 */
export async function openMicrophone() {
  if (!globalThis.isSecureContext || !navigator.mediaDevices) throw new SourceError("insecure");
  if (!globalThis.AudioWorkletNode) throw new SourceError("old");
  const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const media = await navigator.mediaDevices.getUserMedia({ audio }).catch((error) => {
    throw new SourceError(REFUSALS[error.name] ?? "busy", error.message);
  });
  const context = new AudioContext();
  try {
    await context.audioWorklet.addModule(new URL("worklet.js", import.meta.url));
    await context.resume();
  } catch (error) {
    media.getTracks().forEach((track) => track.stop());
    await context.close();
    throw new SourceError("old", String(error));
  }
  return microphone(media, context);
}

/**
 * @param {MediaStream} media
 * @param {AudioContext} context
 * @returns {Source}
 */
function microphone(media, context) {
  const [track] = media.getAudioTracks();
  const node = new AudioWorkletNode(context, "capture");
  const input = context.createMediaStreamSource(media);
  const goOn = () => {
    if (context.state === "running" || context.state === "closed") return;
    // Refused while a call on the same phone has the sound: its end is another change of the state.
    if (document.visibilityState === "visible") context.resume().catch(() => {});
  };
  return {
    sampleRate: Math.round(context.sampleRate / reducedBy(context.sampleRate)),
    name: track.label || "microphone",
    durationS: null,
    begin({ onFrame, onEnd, onMute }) {
      node.port.onmessage = ({ data }) => onFrame(data);
      track.onended = () => onEnd("unplugged");
      track.onmute = () => onMute(true);
      track.onunmute = () => {
        onMute(false);
        goOn();
      };
      context.onstatechange = goOn;
      document.addEventListener("visibilitychange", goOn); // phones pause what is not in front
      // It gives silence to the speakers: browsers run only what leads there.
      input.connect(node).connect(context.destination);
    },
    close() {
      document.removeEventListener("visibilitychange", goOn);
      node.port.onmessage = track.onended = track.onmute = track.onunmute = null;
      context.onstatechange = null;
      track.stop();
      void context.close();
    },
  };
}

/**
 * A recording, given at the pace of speech. Decoded by the browser, at the file's own rate where its
 * head tells it: not resampled, so that the server hears what other clients would send of it.
 *
 * @param {File} file
 * @returns {Promise<Source>}
 */
export async function openRecording(file) {
  if (file.size > MAX_FILE_BYTES) throw new SourceError("large", file.name);
  if ((await playedS(file)) > MAX_RECORDING_S) throw new SourceError("long", file.name);
  const bytes = await file.arrayBuffer();
  const declared = declaredRate(new DataView(bytes)) ?? USUAL_RATE;
  const rate = declared >= 8000 && declared <= MAX_RATE ? declared : USUAL_RATE;
  /** @type {AudioBuffer} */
  let audio;
  try {
    audio = await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes);
  } catch {
    throw new SourceError("unreadable", file.name);
  }
  if (audio.length === 0) throw new SourceError("empty", file.name);
  const decoded = audio.length * audio.numberOfChannels * Float32Array.BYTES_PER_ELEMENT;
  if (decoded > MAX_DECODED_BYTES || audio.duration > MAX_RECORDING_S) {
    throw new SourceError("long", file.name);
  }
  const channels = Array.from({ length: audio.numberOfChannels }, (_, i) => audio.getChannelData(i));
  return recording(file.name, mixed(channels), rate);
}

/**
 * How long a file plays, known before it is decoded; NaN where the browser does not tell.
 *
 * @param {File} file
 * @returns {Promise<number>}
 */
async function playedS(file) {
  const player = new Audio();
  player.preload = "metadata";
  const url = URL.createObjectURL(file);
  await new Promise((done) => {
    player.onloadedmetadata = player.onerror = done;
    setTimeout(done, LENGTH_MS);
    player.src = url;
  });
  const { duration } = player;
  player.removeAttribute("src");
  URL.revokeObjectURL(url);
  return Number.isFinite(duration) ? duration : NaN; // a stream that was recorded may have no end
}

/**
 * @param {string} name
 * @param {Float32Array} samples
 * @param {number} sampleRate
 * @returns {Source}
 */
function recording(name, samples, sampleRate) {
  let rest = () => {};
  return {
    sampleRate,
    name,
    durationS: samples.length / sampleRate,
    begin({ onFrame, onEnd }) {
      const framer = new Framer(sampleRate, onFrame);
      const began = performance.now();
      let sent = 0;
      // By the clock, not by the tick: a busy page hears several at once.
      rest = every(TICK_MS, () => {
        const elapsedS = (performance.now() - began) / 1000;
        const due = Math.min(samples.length, Math.floor(elapsedS * sampleRate));
        framer.feed(samples.subarray(sent, due));
        sent = due;
        if (sent < samples.length) return;
        rest();
        if (framer.filled > 0) onFrame(framer.frame.slice(0, framer.filled));
        onEnd("finished");
      });
    },
    close: () => rest(),
  };
}

/**
 * The sample rate that a WAV or FLAC file's head declares; others are decoded at the usual one.
 *
 * @param {DataView} head
 * @returns {number | null}
 */
export function declaredRate(head) {
  if (head.byteLength < 28) return null;
  if (head.getUint32(0) === 0x664c6143) return head.getUint32(18) >>> 12; // "fLaC", then STREAMINFO
  if (head.getUint32(0) !== 0x52494646) return null; // "RIFF"
  for (let at = 12; at + 16 <= head.byteLength; at += 8 + head.getUint32(at + 4, true)) {
    if (head.getUint32(at) === 0x666d7420) return head.getUint32(at + 12, true); // "fmt "
  }
  return null;
}
