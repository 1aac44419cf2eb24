/** Numbers as people read them. */

/** @param {number} seconds @returns {string} such as 4:05 or 1:02:03 */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const tail = String(rest).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

/** @param {number} share 0 to 1 */
export function percent(share) {
  return `${Math.round(100 * share)} %`;
}

/** @param {number} time seconds since 1970 @returns {string} the time of day here, such as 14:03:22 */
export function timeOfDay(time) {
  return new Date(time * 1000).toLocaleTimeString([], { hour12: false });
}

/**
 * @param {number} count
 * @param {string} noun
 * @param {string} [nouns]
 * @returns {string} such as 3 calls
 */
export function many(count, noun, nouns = `${noun}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? noun : nouns}`;
}
