/**
 * A tick that goes on in a hidden tab: browsers hold a page's own timers back there to one a minute, a
 * worker's they do not. No DOM; copy beat.js with it.
 *
 * @param {number} ms
 * @param {() => void} tick
 * @returns {() => void} ends it
 */
export function every(ms, tick) {
  let timer = 0;
  const worker = beating();
  // Where a page's policy forbids workers, its own timer is better than none.
  const fallBack = () => (timer ||= Number(setInterval(tick, ms)));
  if (!worker) fallBack();
  else {
    worker.onmessage = tick;
    worker.onerror = fallBack;
    worker.postMessage(ms);
  }
  return () => {
    clearInterval(timer);
    if (!worker) return;
    worker.onmessage = worker.onerror = null; // a beat that is under way is not heard
    worker.terminate();
  };
}

function beating() {
  try {
    return new Worker(new URL("beat.js", import.meta.url), { type: "module" });
  } catch {
    return null;
  }
}
