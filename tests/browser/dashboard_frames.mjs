/**
 * How much work a dashboard's frames are, with 200 calls at an event a second each:
 *
 *     node dashboard_frames.mjs [CALLS] [SECONDS] [VIEW]
 *
 * Prints one line of JSON: milliseconds of script in each animation frame that had work (median, p95,
 * most, by the clock); processor seconds a second of the page's main thread, and of them script, style
 * and layout; and frames a second that Chromium showed, drawing by software.
 */
import { launch } from "./harness.mjs";
import { played, reads } from "./played.mjs";

const [calls, seconds, view] = [
  Number(process.argv[2] ?? 200),
  Number(process.argv[3] ?? 20),
  process.argv[4] ?? "cards",
];
const browser = await launch();
const [center, page] = await played(browser, calls, 30, {
  args: ["--live"],
  options: { viewport: { width: 1440, height: 900 } },
});
await reads(page, "#connection-text", "Live");
await page.check(`input[value=${view}]`, { force: true });

await page.evaluate(() => {
  const spent = { frames: /** @type {number[]} */ ([]), shown: 0 };
  Object.assign(globalThis, { spent });
  const request = globalThis.requestAnimationFrame.bind(globalThis);
  globalThis.requestAnimationFrame = (draw) =>
    request((time) => {
      const begin = performance.now();
      draw(time);
      spent.frames.push(performance.now() - begin);
    });
  const count = () => request(() => (spent.shown++, count()));
  count();
});
const client = await page.context().newCDPSession(page);
await client.send("Performance.enable", { timeDomain: "threadTicks" });
const metrics = async () =>
  Object.fromEntries(
    (await client.send("Performance.getMetrics")).metrics.map(({ name, value }) => [name, value]),
  );
const begin = await metrics();
await page.waitForTimeout(1000 * seconds);
const end = await metrics();
const { frames, shown } = await page.evaluate(() => globalThis.spent);

const sorted = frames.sort((a, b) => a - b);
const at = (share) => Number((sorted[Math.floor(share * (sorted.length - 1))] ?? 0).toFixed(2));
const share = (name) => Number(((end[name] - begin[name]) / seconds).toFixed(3));
console.log(
  JSON.stringify({
    calls,
    view,
    frames_with_work: sorted.length,
    median_ms: at(0.5),
    p95_ms: at(0.95),
    most_ms: at(1),
    frames_per_second: Math.round(shown / seconds),
    main_thread: share("TaskDuration"),
    script: share("ScriptDuration"),
    style: share("RecalcStyleDuration"),
    layout: share("LayoutDuration"),
    heap_mb: Math.round(end.JSHeapUsedSize / 1e6),
  }),
);
await browser.close();
await center.stop();
