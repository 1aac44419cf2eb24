/**
 * The page's parts by themselves, run in a browser: sound, the protocol over a scripted server, what is
 * kept.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Server, launch } from "./harness.mjs";

const LIMIT = { timeout: 60_000 };
/** @type {Server} */ let server;
/** @type {import("playwright-core").Browser} */ let browser;
/** @type {import("playwright-core").Page} */ let page;

before(async () => {
  [server, browser] = await Promise.all([Server.start(), launch()]);
  page = await browser.newPage();
  await page.goto(`${server.url}/healthz`); // of the server's origin, with nothing of the page in it
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

// --- sound ---

test("reducing keeps the voice, and nothing above the new half rate folds into it", LIMIT, async () => {
  const gains = await page.evaluate(async () => {
    const { Reducer } = await import("/reduce.js");
    const loudness = (samples) => Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);
    return [2, 4].flatMap((factor) =>
      [200, 4000, 18_000, 26_000, 30_000, 44_000].map((hertz) => {
        const rate = 48_000 * factor;
        const turn = (2 * Math.PI * hertz) / rate;
        const tone = Float32Array.from({ length: rate / 4 }, (_, i) => Math.sin(turn * i));
        const reduced = new Reducer(factor).feed(tone);
        return [hertz, 20 * Math.log10(loudness(reduced.slice(500)) / loudness(tone) + 1e-9)];
      }),
    );
  });
  for (const [hertz, decibels] of gains) {
    if (hertz <= 18_000) assert.ok(Math.abs(decibels) < 0.1, `${hertz} Hz by ${decibels} dB`);
    else assert.ok(decibels < -60, `${hertz} Hz by ${decibels} dB`);
  }
});

test("how the sound is cut changes nothing", LIMIT, async () => {
  const [whole, cut] = await page.evaluate(async () => {
    const { Reducer, Framer } = await import("/reduce.js");
    const noise = Float32Array.from({ length: 20_000 }, (_, i) => Math.sin(i * i * 0.001) * 0.9);
    const run = (size) => {
      const frames = [];
      const [reducer, framer] = [new Reducer(4), new Framer(48_000, (frame) => frames.push(...frame))];
      for (let at = 0; at < noise.length; at += size) {
        framer.feed(reducer.feed(noise.subarray(at, at + size)));
      }
      return frames;
    };
    return [run(noise.length), run(131)];
  });
  assert.equal(whole.length, 4800);
  assert.deepEqual(cut, whole);
});

test("samples are rounded as the Python clients do it, clipped, and what is no number is silence",
  LIMIT, async () => {
  const values = await page.evaluate(async () => {
    const { toInt16 } = await import("/reduce.js");
    return [0, 0.5 / 32768, 1.5 / 32768, -0.5 / 32768, 1, 7, -1, -7, NaN, Infinity].map(toInt16);
  });
  const expected = [0, 0, 2, 0, 32767, 32767, -32768, -32768, 0, 32767];
  assert.deepEqual(values.map((value) => value + 0), expected);
});

test("a file's own rate is read from the heads of WAV and FLAC, and never from anything else",
  LIMIT, async () => {
  const rates = await page.evaluate(async () => {
    const { declaredRate } = await import("/capture.js");
    const bytes = (text, size = 64) => {
      const view = new DataView(new ArrayBuffer(size));
      [...text].forEach((letter, i) => view.setUint8(i, letter.charCodeAt(0)));
      return view;
    };
    const wav = bytes("RIFF....WAVELIST\x04\0\0\0abcdfmt \x10\0\0\0");
    wav.setUint32(36, 11_025, true);
    const flac = bytes("fLaC");
    flac.setUint32(18, 44_100 << 12);
    const broken = bytes("RIFF....WAVELIST\xff\xff\xff\xff");
    return [wav, flac, bytes("ID3"), bytes("RIFF", 4), bytes("", 0), broken].map(declaredRate);
  });
  assert.deepEqual(rates, [11_025, 44_100, null, null, null, null]);
});

// --- the protocol ---

/** A stream against a socket that a script plays; gives what `play` returns. */
function scripted(play, options = {}) {
  return page.evaluate(
    async ([source, options]) => {
      const { EmotionStream } = await import("/client.js");
      const sockets = [];
      class Socket {
        static OPEN = 1;
        constructor(url, protocols) {
          Object.assign(this, { url: String(url), protocols, said: [] });
          Object.assign(this, { readyState: 0, bufferedAmount: 0 });
          sockets.push(this);
        }
        send(data) {
          const control = typeof data === "string";
          this.said.push(control ? JSON.parse(data) : Array.from(new Int16Array(data.buffer)));
        }
        close() {
          this.readyState = 3;
        }
        open() {
          this.readyState = 1;
          this.onopen();
        }
        hear(message) {
          this.onmessage({ data: JSON.stringify(message) });
        }
        end(code, reason = "") {
          this.onclose?.({ code, reason });
        }
      }
      const own = [globalThis.WebSocket, Math.random];
      [globalThis.WebSocket, Math.random] = [Socket, () => 0];
      const [heard, states] = [[], []];
      const stream = new EmotionStream({
        url: "https://example.com/below/",
        start: { sample_rate: 8000 },
        onMessage: (message, originS) => heard.push({ ...message, originS }),
        onState: ({ name, code }) => states.push(code ? `${name} ${code}` : name),
        ...options,
      });
      const next = async (count) => {
        while (sockets.length < count) await new Promise((done) => setTimeout(done, 5));
        return sockets[count - 1];
      };
      try {
        return await new Function(`return ${source}`)()(stream, next, heard, states);
      } finally {
        stream.close();
        [globalThis.WebSocket, Math.random] = own;
      }
    },
    [String(play), options],
  );
}

test("who never got a connection hears that it may be the page's origin", LIMIT, async () => {
  const reason = await scripted(async (stream, next) => {
    stream.open();
    (await next(1)).end(1006);
    return stream.state.reason;
  });
  assert.match(reason, /origin is not among the server's --origins/);
});

test("the token goes as a subprotocol, and the stream's name into the address", LIMIT, async () => {
  const [url, protocols, start] = await scripted(
    async (stream, next) => {
      stream.open();
      const socket = await next(1);
      socket.open();
      return [socket.url, socket.protocols, socket.said[0]];
    },
    { token: "a?ü>~", start: { stream_id: "call 7" } },
  );
  assert.equal(url, "wss://example.com/below/v1/stream?stream_id=call+7");
  assert.deepEqual(protocols, ["emotion.v1", `bearer.${Buffer.from("a?ü>~").toString("base64url")}`]);
  assert.deepEqual(start, { type: "start", encoding: "pcm_s16le", stream_id: "call 7" });
});

test("after a break the session is resumed, sent on from what was received, and no event is told twice",
  LIMIT, async () => {
  const [resume, sent, seqs, states] = await scripted(async (stream, next, heard, states) => {
    const started = { type: "started", session_id: "S", resumed: false, received_samples: 0 };
    stream.open();
    const first = await next(1);
    first.open();
    first.hear(started);
    stream.send(Int16Array.from({ length: 10 }, (_, i) => i));
    first.hear({ type: "emotion", seq: 1, end_s: 0 });
    first.end(1006);
    stream.send(Int16Array.from([10, 11]));
    const second = await next(2);
    second.open();
    second.hear({ ...started, resumed: true, received_samples: 7 });
    for (const seq of [1, 2]) second.hear({ type: "emotion", seq, end_s: 0 });
    const seqs = heard.map(({ seq }) => seq).filter(Boolean);
    return [second.said[0].resume, second.said.slice(1).flat(), seqs, [...states]];
  });
  assert.deepEqual(resume, { session_id: "S", last_seq: 1 });
  assert.deepEqual(sent, [7, 8, 9, 10, 11]);
  assert.deepEqual(seqs, [1, 2]);
  assert.deepEqual(states, ["connecting", "open", "waiting broken", "connecting", "open"]);
});

test("what fell out of the minute that is kept is declared, and counted", LIMIT, async () => {
  const [kept, gaps, lost] = await scripted(async (stream, next) => {
    const started = { type: "started", session_id: "S", resumed: false, received_samples: 0 };
    stream.open();
    const first = await next(1);
    first.open();
    first.hear(started);
    first.end(1006);
    for (let i = 0; i < 190; i++) stream.send(new Int16Array(8000));
    const second = await next(2);
    second.open();
    second.hear({ ...started, resumed: true });
    const gaps = second.said.filter(({ type }) => type === "gap").map(({ samples }) => samples / 8000);
    return [(stream.backlog.end - stream.backlog.first) / 8000, gaps, stream.state.lostS];
  });
  assert.deepEqual([kept, gaps, lost], [60, [60, 60, 10], 130]);
});

test("a server that takes the connection and never answers is given up, and asked again",
  LIMIT, async () => {
  const states = await scripted(async (stream, next, heard, states) => {
    const now = performance.now.bind(performance);
    let ahead = 0;
    performance.now = () => now() + ahead;
    try {
      stream.open();
      await next(1); // of which the handshake hangs
      ahead += 11_000;
      (await next(2)).open(); // the handshake is all that comes
      ahead += 11_000;
      await next(3);
    } finally {
      performance.now = now;
    }
    return [...states];
  });
  const again = ["waiting unreachable", "connecting"];
  assert.deepEqual(states, ["connecting", ...again, ...again]);
});

test("however much is given at once, no frame is longer than the server takes", LIMIT, async () => {
  const sizes = await scripted(
    async (stream, next) => {
      stream.open();
      const socket = await next(1);
      socket.open();
      socket.hear({ type: "started", session_id: "S", resumed: false, received_samples: 0 });
      stream.send(new Int16Array(30 * 48_000).fill(3));
      return socket.said.slice(1).map((frame) => 2 * frame.length);
    },
    { start: { sample_rate: 48_000 } },
  );
  assert.ok(Math.max(...sizes) <= 2 ** 20, `${Math.max(...sizes)} bytes`);
  assert.equal(sizes.reduce((sum, size) => sum + size, 0), 2 * 30 * 48_000);
});

test("a session that the server has forgotten is followed by another one, of what is not judged",
  LIMIT, async () => {
  const [origin, resume, sent] = await scripted(async (stream, next, heard) => {
    const started = { type: "started", session_id: "S", resumed: false, received_samples: 0 };
    stream.open();
    const first = await next(1);
    first.open();
    first.hear(started);
    stream.send(new Int16Array(8000).fill(1));
    stream.send(new Int16Array(4000).fill(2));
    first.hear({ type: "silence", seq: 1, end_s: 1 });
    first.end(1006);
    const second = await next(2);
    second.open();
    second.hear({ type: "error", code: "unknown_session", message: "gone", fatal: true });
    second.end(1008);
    const third = await next(3);
    third.open();
    third.hear({ ...started, session_id: "T" });
    const sent = [...new Set(third.said.slice(1).flat())];
    return [heard.at(-1).originS, third.said[0].resume ?? null, sent];
  });
  assert.deepEqual([origin, resume, sent], [1, null, [2]]);
});

test("a full server is asked again, one that wants a token is not", LIMIT, async () => {
  const states = await scripted(async (stream, next, heard, states) => {
    stream.open();
    for (const [count, code, close] of [[1, "at_capacity", 1013], [2, "unauthorized", 1008]]) {
      const socket = await next(count);
      socket.open();
      socket.hear({ type: "error", code, message: code, fatal: true });
      socket.end(close);
    }
    return states;
  });
  assert.deepEqual(states, ["connecting", "waiting at_capacity", "connecting", "over unauthorized"]);
});

test("stop sends what is left, and gives the summary; a server's own end does not end the stream",
  LIMIT, async () => {
  const [said, summary, states] = await scripted(async (stream, next, heard, states) => {
    const started = { type: "started", session_id: "S", resumed: false, received_samples: 0 };
    stream.open();
    const first = await next(1);
    first.open();
    first.hear(started);
    stream.send(Int16Array.from([1, 2]));
    first.hear({ type: "summary", audio_s: 0 });
    first.end(1001); // it drains
    const second = await next(2);
    const stopped = stream.stop();
    second.open();
    second.hear({ ...started, session_id: "T" });
    second.hear({ type: "summary", audio_s: 2 / 8000 });
    second.end(1000);
    return [second.said.slice(1), await stopped, states];
  });
  assert.deepEqual(said, [[1, 2], { type: "stop" }]);
  assert.equal(summary.audio_s, 2 / 8000);
  const [connecting, open] = ["connecting", "open"];
  assert.deepEqual(states, [connecting, open, "waiting draining", connecting, open, "over done"]);
});

test("a socket that does not drain is not filled: the sound waits where it is counted",
  LIMIT, async () => {
  const [sent, later] = await scripted(async (stream, next) => {
    stream.open();
    const socket = await next(1);
    socket.open();
    socket.hear({ type: "started", session_id: "S", resumed: false, received_samples: 0 });
    socket.bufferedAmount = 1e9;
    stream.send(Int16Array.from([1, 2, 3]));
    const sent = socket.said.length - 1;
    socket.bufferedAmount = 0;
    stream.send(Int16Array.from([4]));
    return [sent, socket.said.slice(1).flat()];
  });
  assert.deepEqual([sent, later], [0, [1, 2, 3, 4]]);
});

// --- what is kept and said ---

test("hours of listening keep no more than minutes do", LIMIT, async () => {
  const sizes = await page.evaluate(async () => {
    const { History, MAX_BREAKS, MAX_LOG, MAX_MOMENTS } = await import("/past.js");
    const { EMOTIONS } = await import("/emotions.js");
    const history = new History();
    const probabilities = Object.fromEntries(EMOTIONS.map((name) => [name, 1 / 8]));
    const most = { moments: 0, breaks: 0, log: 0 };
    for (let i = 1; i <= 12 * 3600 * 4; i++) {
      const smoothed = { label: "sad", probabilities };
      const event = { type: "emotion", seq: i, start_s: i / 4 - 3, end_s: i / 4, smoothed };
      history.add(event, 0, 0.25);
      history.record(event);
      if (i % 3 === 0) history.mark(i / 4, "new session");
      for (const name in most) most[name] = Math.max(most[name], history[name].length);
    }
    const limits = { moments: MAX_MOMENTS, breaks: MAX_BREAKS, log: MAX_LOG };
    const fresh = new History();
    fresh.record({ type: "started" });
    return [most, limits, history.forgotten, history.saved(), fresh.saved(), fresh.shortness];
  });
  const [most, limits, forgotten, [head, ...rest], whole, shortness] = sizes;
  for (const name in limits) assert.ok(most[name] <= limits[name], `${name}: ${most[name]}`);
  assert.deepEqual([head.type, head.count], ["forgotten", forgotten]); // a file that is short says so
  assert.equal(head.count + rest.length, 12 * 3600 * 4);
  assert.deepEqual([whole, shortness], [[{ type: "started" }], ""]);
});

test("a window that the server skipped leaves no hole where the next heard the same; breaks do",
  LIMIT, async () => {
  const shapes = await page.evaluate(async () => {
    const { History } = await import("/past.js");
    const { stretches, reigns } = await import("/timeline.js");
    const history = new History();
    const add = (type, end_s, label, sinceS = 0) => {
      const smoothed = { label, probabilities: { [label]: 1 } };
      history.add({ type, start_s: Math.max(0, end_s - 3), end_s, smoothed }, sinceS, 0.5);
    };
    add("emotion", 1, "sad");
    add("emotion", 2.5, "sad"); // two were skipped
    add("silence", 3);
    add("emotion", 3.5, "angry");
    add("emotion", 1, "angry", 10); // another stream
    return [stretches(history.moments).map((s) => [s[0].fromS, s.at(-1).toS]), reigns(history.moments)];
  });
  assert.deepEqual(shapes[0], [[0.5, 2.5], [2.5, 3], [3, 3.5], [10.5, 11]]);
  assert.deepEqual(shapes[1].map(({ label, from, to }) => [label, from, to]), [
    ["sad", 0.5, 2.5],
    ["angry", 3, 3.5],
    ["angry", 10.5, 11],
  ]);
});

test("a screen reader is told what lasts, and not one thing on the heels of another",
  LIMIT, async () => {
  const said = await page.evaluate(async () => {
    const { Narrator } = await import("/past.js");
    const narrator = new Narrator(2, 6);
    const said = [];
    for (let s = 0; s < 30; s += 0.5) {
      const text = s < 5 ? "Sounds calm" : s % 2 < 1 && s < 12 ? "Sounds sad" : "Sounds angry";
      const news = narrator.hear(text, s);
      if (news) said.push([s, news]);
    }
    return said;
  });
  assert.deepEqual(said, [[2, "Sounds calm"], [13, "Sounds angry"]]);
});

test("the playhead is steady where frames jerk, follows a clock that drifts, jumps after a pause",
  LIMIT, async () => {
  const [jerk, drift, jump] = await page.evaluate(async () => {
    const { Playhead } = await import("/past.js");
    const playhead = new Playhead();
    let [last, jerk] = [NaN, 0];
    for (let i = 0; i < 200; i++) {
      const wall = 100 + i * 0.05;
      playhead.advance(i * 0.05 + (i % 4) * 0.02, wall);
      const step = playhead.at(wall) - last;
      if (i > 0) jerk = Math.max(jerk, Math.abs(step - 0.05));
      last = playhead.at(wall);
    }
    for (let i = 0; i < 72_000; i++) playhead.advance(i * 0.05 * 1.0003, 1000 + i * 0.05);
    const drift = playhead.at(1000 + 3600) - 3600 * 1.0003;
    playhead.advance(0, 9000);
    return [jerk, drift, playhead.at(9000)];
  });
  assert.ok(jerk < 0.01 && Math.abs(drift) < 0.1, `${jerk} ${drift}`);
  assert.equal(jump, 0);
});
