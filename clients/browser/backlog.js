/**
 * The last seconds of a stream's audio, kept until they are judged, so that a connection that breaks
 * can be gone on with. Positions count values (one int16 of one channel) from the stream's first one.
 * What is kept is bounded: where more comes, the oldest goes, and whoever wanted to send it finds
 * `first` behind it.
 */
export class Backlog {
  /** @param {number} capacity values that are kept */
  constructor(capacity) {
    this.capacity = capacity;
    this.first = 0;
    this.end = 0;
    /** @type {Int16Array[]} */
    this.frames = [];
  }

  /** @param {Int16Array} frame comes next, at the cost of the oldest */
  append(frame) {
    this.frames.push(frame);
    this.end += frame.length;
    if (this.end - this.first > this.capacity) this.forget(this.end - this.capacity);
  }

  /** @param {number} position what comes before it is wanted no more */
  forget(position) {
    const upTo = Math.min(position, this.end);
    while (this.frames.length > 0 && this.first < upTo) {
      const [oldest] = this.frames;
      const count = Math.min(oldest.length, upTo - this.first);
      if (count === oldest.length) this.frames.shift();
      else this.frames[0] = oldest.subarray(count);
      this.first += count;
    }
  }

  /**
   * @param {number} position not before `first`
   * @returns {Int16Array<ArrayBufferLike> | undefined} what is kept from there on, a part of it at least
   */
  from(position) {
    let at = this.first;
    for (const frame of this.frames) {
      if (position < at + frame.length) return frame.subarray(position - at);
      at += frame.length;
    }
    return undefined;
  }
}
