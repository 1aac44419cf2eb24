/**
 * Prints how fast the page is: from the first word to the first result on it, and what a frame costs.
 *
 *     EMOTION_PYTHON=python3 node first_result.mjs
 *
 * The microphone hears speech from its first sample on, so the first frame that the page sends is the
 * first word. Times are this machine's.
 */
import { Server, launch } from "./harness.mjs";
import { sound } from "./support.mjs";

const RUNS = 3;
const server = await Server.start();
const browser = await launch({ microphone: await sound("speech", "speech.wav", "20") });
try {
  for (let run = 0; run < RUNS; run++) {
    const page = await browser.newPage();
    let spoken = 0;
    page.on("websocket", (socket) =>
      socket.on("framesent", ({ payload }) => {
        if (typeof payload !== "string") spoken ||= performance.now() - 50; // a frame holds 50 ms
      }),
    );
    await page.goto(server.url);
    const clicked = performance.now();
    await page.click("#microphone");
    await page.waitForFunction(() => /%/.test(document.getElementById("sure").textContent));
    const shown = performance.now();
    const ms = (from) => `${Math.round(shown - from)} ms`;
    console.log(`first result ${ms(spoken)} after the first word, ${ms(clicked)} after the click`);
    await page.close();
  }
  console.log(await frameCost());
} finally {
  await browser.close();
  await server.stop();
}

/** Two minutes at two judgements a second, drawn again and again. */
async function frameCost() {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  await page.goto(server.url);
  const [median, worst] = await page.evaluate(async () => {
    const { History } = await import("/past.js");
    const { Timeline } = await import("/timeline.js");
    const { EMOTIONS } = await import("/emotions.js");
    const history = new History();
    for (let i = 1; i <= 264; i++) {
      const values = EMOTIONS.map((_, k) => 1.2 + Math.sin(i / 7 + k));
      const total = values.reduce((sum, value) => sum + value);
      const probabilities = Object.fromEntries(EMOTIONS.map((name, k) => [name, values[k] / total]));
      const label = EMOTIONS[values.indexOf(Math.max(...values))];
      const smoothed = { label, probabilities };
      history.add({ type: "emotion", start_s: i / 2 - 3, end_s: i / 2, smoothed }, 0, 0.5);
    }
    const timeline = new Timeline(document.getElementById("timeline"), history);
    const costs = [];
    for (let frame = 0; frame < 300; frame++) {
      await new Promise(requestAnimationFrame);
      const begin = performance.now();
      timeline.draw(120 + frame / 60);
      costs.push(performance.now() - begin);
    }
    costs.sort((a, b) => a - b);
    return [costs[150], costs[297]];
  });
  return `a frame takes ${median.toFixed(1)} ms (median), ${worst.toFixed(1)} ms (99 %), of 16.7 ms`;
}
