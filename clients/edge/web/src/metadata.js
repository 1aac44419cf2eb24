/**
 * What an .onnx file says about itself. onnxruntime-web has no call for that, so the file's outermost
 * layer is read here: a ModelProto whose field 14 is a list of {1: key, 2: value}.
 */

const METADATA = 14;
const PREFIX = "emotion.";

/**
 * What the page has to know of a model.
 *
 * @typedef {object} Contract
 * @property {string} name
 * @property {string} precision `fp32`, `fp16` or `int8`
 * @property {string[]} labels in the order of the probabilities
 * @property {number} rate Hz
 * @property {number} maxSamples the longest window
 */

/**
 * @param {Uint8Array} model a whole monitor.onnx
 * @returns {Contract}
 * @throws {Error} the file is no such model
 */
export function contractOf(model) {
  try {
    const said = metadataOf(model);
    const field = (/** @type {string} */ name) => JSON.parse(said.get(PREFIX + name) ?? "");
    return {
      name: field("name"),
      precision: field("precision"),
      labels: field("labels"),
      rate: field("sample_rate"),
      maxSamples: field("max_samples"),
    };
  } catch {
    throw new Error("monitor.onnx is not a model of emotion-export: copy or export it again");
  }
}

/**
 * @param {Uint8Array} model
 * @returns {Map<string, string>}
 */
function metadataOf(model) {
  const text = new TextDecoder();
  const found = new Map();
  for (const [field, value] of fields(model)) {
    if (field !== METADATA) continue;
    const entry = new Map(fields(value));
    found.set(text.decode(entry.get(1)), text.decode(entry.get(2)));
  }
  return found;
}

/**
 * The fields of a protobuf message that have a length; numbers are passed over.
 *
 * @param {Uint8Array} message
 * @returns {Generator<[number, Uint8Array]>}
 */
function* fields(message) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let weight = 1; ; weight *= 128) {
      if (at >= message.length) throw new RangeError("the message ends within a number");
      const byte = message[at++];
      value += (byte & 127) * weight; // no shift: a length may have more than 31 bits
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const kind = tag % 8;
    if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const length = varint();
      if (at + length > message.length) throw new RangeError("a field is longer than its message");
      yield [Math.floor(tag / 8), message.subarray(at, at + length)];
      at += length;
    } else throw new RangeError(`wire type ${kind}`);
  }
}
