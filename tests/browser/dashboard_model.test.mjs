/** What the dashboard remembers, and how it follows: its modules without its page. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./harness.mjs";
import { Played } from "./played.mjs";

let browser;
let center;
let page;

before(async () => {
  [browser, center] = await Promise.all([launch(), Played.start()]);
  page = await browser.newPage();
  await page.goto(`${center.url}/theme.css`);
  await page.evaluate(async () => {
    const { EMOTIONS } = await import("/emotions.js");
    const even = Object.fromEntries(EMOTIONS.map((label) => [label, 1 / 8]));
    /** Events of a session as the wire has them. */
    globalThis.spoken = (session, seq, label = "calm", more = {}) => ({
      type: label ? "emotion" : "silence",
      id: `${session}:${seq}`,
      stream_id: `stream-${session}`,
      time: 1000 + seq,
      channel: "mono",
      seq,
      start_s: Math.max(0, seq - 3),
      end_s: seq,
      smoothed: { label, probabilities: { ...even, [label]: 1 } },
      ...more,
    });
    globalThis.modules = {
      ...(await import("/calls.js")),
      ...(await import("/history.js")),
      ...(await import("/connecting.js")),
      ...(await import("/monitor.js")),
      ...(await import("/order.js")),
    };
  });
});
after(async () => {
  await browser?.close();
  await center?.stop();
});

test("of ten hours the last two minutes stay as they were, and all coarsely, within bounds", async () => {
  const kept = await page.evaluate(() => {
    const { Calls, MAX_BINS, HISTORY_S } = globalThis.modules;
    const calls = new Calls();
    let call;
    for (let s = 1; s <= 36_000; s++)
      call = calls.apply(globalThis.spoken("a", s, s % 3 ? "angry" : ""));
    const { recent, whole } = call.track;
    const { heard_s, silent_s } = whole.total();
    const span = recent.stretches.at(-1).to - recent.stretches[0].from;
    return {
      count: whole.count,
      most: MAX_BINS,
      span,
      HISTORY_S,
      seconds: Math.round(heard_s + silent_s),
    };
  });
  assert.ok(kept.count <= kept.most);
  assert.equal(kept.span, kept.HISTORY_S);
  assert.equal(kept.seconds, 36_000);
});

test("calls, channels and alerts stay bounded, and live calls are kept longest", async () => {
  const kept = await page.evaluate(() => {
    const { Calls, MAX_CALLS, MAX_TRACKS, MAX_ALERTS } = globalThis.modules;
    const calls = new Calls();
    calls.apply(globalThis.spoken("first", 1));
    for (let i = 0; i < 3 * MAX_CALLS; i++) {
      calls.apply(globalThis.spoken(`s${i}`, 2));
      calls.apply({ type: "summary", id: `s${i}:end`, session_id: `s${i}`, stream_id: "x", time: 1002 });
    }
    let call;
    for (let i = 1; i < 500; i++)
      call = calls.apply(globalThis.spoken("first", i, "sad", { channel: `c${i}` }));
    for (let i = 1; i < 500; i++) {
      calls.apply({
        type: "alert",
        session_id: "first",
        rule: `r${i}`,
        state: "raised",
        at_s: 9,
        time: 1003,
      });
    }
    const within = [
      calls.all.size <= MAX_CALLS,
      call.tracks.size <= MAX_TRACKS,
      call.alerts.length <= MAX_ALERTS,
    ];
    return [...within, calls.all.has("first")];
  });
  assert.deepEqual(kept, [true, true, true, true]);
});

test("what is over is forgotten, and a call that nobody hears of counts as over", async () => {
  const found = await page.evaluate(() => {
    const { Calls, KEPT_S, LOST_S, DOUBTFUL_S } = globalThis.modules;
    const calls = new Calls();
    const lost = calls.apply(globalThis.spoken("a", 1));
    calls.sweep(1001 + LOST_S - 1);
    const states = [lost.state];
    calls.sweep(1001 + LOST_S + 1);
    states.push(lost.state);
    calls.apply(globalThis.spoken("a", 2));
    states.push(lost.state);
    calls.apply({ type: "gap", from: "1-1", to: "1-9", cursor: "1-9", count: 8 });
    calls.sweep(1002 + DOUBTFUL_S + 1);
    states.push(lost.state);
    calls.sweep(1002 + 2 * DOUBTFUL_S + KEPT_S);
    return [...states, calls.all.size];
  });
  assert.deepEqual(found, ["live", "lost", "live", "lost", 0]);
});

test("a missed event is a hole of its own length, and one that comes twice counts once", async () => {
  const stretches = await page.evaluate(() => {
    const calls = new globalThis.modules.Calls();
    let call;
    for (const seq of [1, 2, 2, 1, 5, 6]) call = calls.apply(globalThis.spoken("a", seq));
    return call.track.recent.stretches.map(({ from, to, kind }) => [from, to, kind]);
  });
  assert.deepEqual(stretches, [
    [0, 1, 1],
    [1, 2, 1],
    [2, 4, -2],
    [4, 5, 1],
    [5, 6, 1],
  ]);
});

test("a pause keeps the call's emotion, a longer silence does not", async () => {
  const heard = await page.evaluate(() => {
    const calls = new globalThis.modules.Calls();
    const sounds = [];
    for (let s = 1; s <= 10; s++)
      sounds.push(calls.apply(globalThis.spoken("a", s, s > 2 ? "" : "sad")).sounds);
    return sounds;
  });
  assert.deepEqual(heard, [...Array(7).fill("sad"), "silent", "silent", "silent"]);
});

test("an alert is over when it is cleared or its call ends, and odd ones harm nobody", async () => {
  const held = await page.evaluate(() => {
    const calls = new globalThis.modules.Calls();
    const alert = {
      type: "alert",
      session_id: "a",
      channel: "mono",
      rule: "anger",
      at_s: 12,
      since_s: 2,
      time: 1,
    };
    const call = calls.apply(globalThis.spoken("a", 12));
    const now = () => call.alert?.message ?? null;
    const steps = [];
    calls.apply({ ...alert, state: "cleared" });
    steps.push(now());
    calls.apply({ ...alert, state: "raised", message: "much anger", more: 7 });
    calls.apply({ ...alert, state: "raised", message: "much anger" });
    steps.push(now(), call.alerts.length);
    calls.apply({ ...alert, state: "cleared", at_s: 20 });
    steps.push(now());
    calls.apply({ ...alert, state: "raised" });
    steps.push(now());
    calls.apply({ type: "summary", id: "a:end", session_id: "a", time: 2 });
    steps.push(now(), calls.apply({ type: "alert" }), calls.apply({ type: "emotion", id: 7 }));
    return steps;
  });
  assert.deepEqual(held, [null, "much anger", 1, null, "anger", null, null, null]);
});

/** Plays seconds of a call and alerts, told by number: what is said of the alerts after each. */
const alerted = (steps) =>
  page.evaluate((steps) => {
    const calls = new globalThis.modules.Calls();
    return steps.map((step) => {
      const [what, at_s, n = 1] = step;
      const alert = { id: `a:alert:${n}`, session_id: "a", channel: "mono", rule: "anger", since_s: 2 };
      const time = 1000 + (step[3] ?? at_s);
      const seconds = { seq: at_s, start_s: at_s - 1, end_s: at_s };
      if (what === "gap") calls.apply({ type: "gap", from: "1-1", to: "1-9", cursor: "1-9", count: 8 });
      else if (what === "speech") calls.apply(globalThis.spoken("a", at_s, "angry", seconds));
      else calls.apply({ ...alert, type: "alert", state: what, at_s, time });
      const list = calls.all.get("a").alerts;
      return list.map((a) => `${a.time} to ${a.to_s}${a.doubtful ? "?" : ""}`).join(", ");
    });
  }, steps);

test("an alert that is told again is one alert, and as old as it is", async () => {
  const told = await alerted([
    ["speech", 300],
    ["raised", 12, 1, 300], // the first time was before this page
    ["raised", 12, 1, 330],
    ["cleared", 340, 2],
    ["raised", 12, 1, 350], // delivered twice
  ]);
  assert.deepEqual(told.slice(1), ["1012 to null", "1012 to null", "1012 to 340", "1012 to 340"]);
});

test("an alert whose end was missed is over once it is not told again, and not before", async () => {
  const told = await alerted([
    ["speech", 12],
    ["raised", 12],
    ["speech", 100], // without a gap nothing was missed
    ["gap", 0],
    ["speech", 101],
    ["raised", 12],
    ["gap", 0],
    ["raised", 110, 3], // so the first one was cleared
  ]);
  const held = "1012 to null";
  assert.deepEqual(told.slice(1, 4), [held, held, `${held}?`]);
  assert.deepEqual(told.slice(4), ["1012 to 12?", held, `${held}?`, "1012 to 101?, 1110 to null"]);
});

test("the server's clock is that of its freshest events, also after either clock was set", async () => {
  const times = await page.evaluate(() => {
    const clock = new globalThis.modules.Clock();
    for (const delay of [5, 0.25, 3]) clock.hear(1000, 5000 + delay);
    const first = clock.now(5001);
    for (let s = 0; s <= 300; s++) clock.hear(1000 + s, 9000 + s);
    return [first, clock.now(9300)];
  });
  assert.deepEqual(times, [1000.75, 1300]);
});

test("ids are remembered within a bound, the latest longest", async () => {
  const found = await page.evaluate(() => {
    const memory = new globalThis.modules.Memory(3);
    return ["a", "b", "c", "a", "d", "a", "b", "c"].map((id) => memory.isNew(id));
  });
  assert.deepEqual(found, [true, true, true, false, true, false, true, true]);
});

test("waits double up to a bound, are random within it, and begin anew after a success", async () => {
  const waits = await page.evaluate(() => {
    const backoff = new globalThis.modules.Backoff(() => 0.5);
    const list = Array.from({ length: 8 }, () => backoff.next());
    backoff.reset();
    return [...list, backoff.next()];
  });
  assert.deepEqual(waits, [125, 250, 500, 1000, 2000, 4000, 4000, 4000, 125]);
});

test("a token travels as a subprotocol, in base64url without padding", async () => {
  const offered = await page.evaluate(() =>
    ["", "a", "ÿ?>~ü"].map((t) => globalThis.modules.subprotocols(t)),
  );
  assert.deepEqual(offered, [
    ["emotion.v1"],
    ["emotion.v1", "bearer.YQ"],
    ["emotion.v1", `bearer.${Buffer.from("ÿ?>~ü").toString("base64url")}`],
  ]);
});

test("alerts come first, the latest before the others, and what is over comes last", async () => {
  const order = await page.evaluate(() => {
    const { Calls, chosen } = globalThis.modules;
    const calls = new Calls();
    for (const name of ["e", "d", "c", "b", "a"]) calls.apply(globalThis.spoken(name, 1));
    for (const [session_id, time] of [
      ["d", 1001],
      ["c", 1002],
      ["e", 1003],
    ]) {
      calls.apply({ type: "alert", session_id, rule: "r", state: "raised", at_s: 1, time });
    }
    calls.apply({ type: "summary", id: "e:end", session_id: "e", time: 1004 });
    const choice = { sort: "alert", which: "live", alerting: false, sounds: new Set(), search: "" };
    return [1005, 2000].map((now) =>
      chosen(calls.all.values(), choice, now)
        .map((call) => call.session)
        .join(""),
    );
  });
  assert.deepEqual(order, ["cdabe", "cdab"]);
});
