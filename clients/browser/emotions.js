/**
 * The eight emotions in the order of the model's logits, and the sign that stands for each where colour
 * alone would not do. Their colours are in theme.css: `--neutral`, `--calm` and so on.
 */
export const EMOTIONS = /** @type {const} */ ([
  "neutral",
  "calm",
  "happy",
  "sad",
  "angry",
  "fearful",
  "disgust",
  "surprised",
]);

/** @typedef {(typeof EMOTIONS)[number]} Emotion */

/** One letter each: first letters are not distinct, so surprised is `!` and sad `S`. */
export const SIGNS = /** @type {Record<Emotion, string>} */ ({
  neutral: "N",
  calm: "C",
  happy: "H",
  sad: "S",
  angry: "A",
  fearful: "F",
  disgust: "D",
  surprised: "!",
});
