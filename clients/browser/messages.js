/**
 * The protocol's messages as types, nothing that runs: docs/protocol.md says what they mean.
 *
 * @typedef {import("./emotions.js").Emotion} Label
 * @typedef {Record<Label, number>} Probabilities
 *
 * @typedef {object} Start
 * @property {string} [stream_id]
 * @property {number} [sample_rate] Hz, 8000 to 48000
 * @property {string[]} [channels] names of the interleaved channels
 * @property {string[]} [analyze]
 * @property {number} [window_s]
 * @property {number} [hop_s]
 * @property {boolean} [vad]
 * @property {boolean} [adapt] left out: where the model can
 * @property {Record<string, unknown>} [metadata]
 *
 * @typedef {object} Started
 * @property {"started"} type
 * @property {string} session_id
 * @property {string} stream_id
 * @property {number} sample_rate
 * @property {string[]} channels
 * @property {number} window_s
 * @property {number} hop_s
 * @property {boolean} adapt
 * @property {{name: string, version: string, labels: Label[]}} model
 * @property {{max_frame_bytes: number, max_control_bytes: number, idle_timeout_s: number}} limits
 * @property {boolean} resumed
 * @property {number} received_samples
 *
 * @typedef {object} Judged
 * @property {"emotion"} type
 * @property {string} id
 * @property {number} seq
 * @property {string} channel
 * @property {number} start_s
 * @property {number} end_s
 * @property {Label} label
 * @property {number} confidence
 * @property {Probabilities} probabilities
 * @property {{label: Label, probabilities: Probabilities}} smoothed
 * @property {number | null} speech_ratio
 * @property {number} adapted_s
 * @property {number} latency_ms
 *
 * @typedef {object} Silence
 * @property {"silence"} type
 * @property {string} id
 * @property {number} seq
 * @property {string} channel
 * @property {number} start_s
 * @property {number} end_s
 * @property {number} speech_ratio
 * @property {number} latency_ms
 *
 * @typedef {object} Summary
 * @property {"summary"} type
 * @property {number} audio_s
 * @property {number} windows
 * @property {number} inferred
 * @property {number} silent
 * @property {number} skipped
 * @property {Record<string, Label | null>} dominant
 *
 * @typedef {{type: "flushed", id: string}} Flushed
 * @typedef {{type: "warning", code: string, message: string, count: number | null}} Warning
 * @typedef {{type: "error", code: string, message: string, fatal: boolean}} Failure
 *
 * @typedef {Started | Judged | Silence | Summary | Flushed | Warning | Failure} Message
 */
export {};
