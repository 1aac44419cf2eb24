/**
 * What can go wrong for whoever looks at the page: what it is, and what to do about it. No DOM.
 *
 * @typedef {object} Trouble
 * @property {string} code
 * @property {string} title
 * @property {string} text
 * @property {"microphone" | "retry" | "token" | null} way what the page offers to press
 */

/** @type {Record<string, [title: string, text: string, way: Trouble["way"]]>} */
const KNOWN = {
  insecure: [
    "There is no microphone on this address",
    "Browsers give it only to pages on HTTPS or localhost. Open http://localhost:8765 on the machine " +
      "the server runs on, or ask its operator for HTTPS (--tls-cert, --tls-key). A recording can be " +
      "dropped here all the same.",
    null,
  ],
  old: [
    "This browser cannot capture sound",
    "It has no AudioWorklet, or could not start one. Chrome, Edge, Firefox and Safari since 2021 can.",
    "microphone",
  ],
  refused: [
    "The microphone is not permitted",
    "Allow it for this page (the sign beside the address opens the permissions; on a phone also in " +
      "the system's settings), then try again. A recording can be dropped here without it.",
    "microphone",
  ],
  missing: [
    "No microphone was found",
    "Plug one in, or switch it on, then try again. A recording can be dropped here without one.",
    "microphone",
  ],
  busy: [
    "The microphone cannot be opened",
    "Another program may hold it, or the system keeps it back. Close what uses it, then try again.",
    "microphone",
  ],
  unplugged: [
    "The microphone went away",
    "It was unplugged or switched off. What was heard until then is kept. Plug it in again, or choose " +
      "another one in the system's settings, then go on.",
    "microphone",
  ],
  muted: [
    "The microphone is muted",
    "The system or a key on the device holds its sound back. Listening goes on when it is given again.",
    null,
  ],
  starved: [
    "No sound comes",
    "The system or another program may hold the microphone. Listening goes on when it is given again; " +
      "if it is not, stop and start again.",
    null,
  ],
  paused: [
    "Listening was paused in the background",
    "The browser stopped the microphone while the tab was hidden, so that time is missing. Keep the " +
      "tab in a window of its own to avoid it.",
    null,
  ],
  large: [
    "The recording is too large for this page",
    "It takes files up to 64 MB. Longer ones: emotion-client file PATH, on a machine with the package.",
    null,
  ],
  long: [
    "The recording is too long for this page",
    "It takes up to two hours, and 512 MB once decoded. Longer ones: emotion-client file PATH, on a " +
      "machine with the package.",
    null,
  ],
  unjudged: ["The last of the sound was not judged", "There was no connection in time to send it.", null],
  unreadable: [
    "The file cannot be read as sound",
    "Expected WAV, FLAC, MP3, OGG or M4A. Convert it, or try another one.",
    null,
  ],
  empty: ["The recording is empty", "It holds no sound at all. Try another one.", null],
  unauthorized: [
    "This server wants a token",
    "Its operator makes one with emotion-server --new-token NAME. It stays in this tab and is " +
      "forgotten when the tab is closed.",
    "token",
  ],
  refused_token: [
    "The server does not take this token",
    "It may be mistyped, expired, or for other streams. Try it again, or ask the operator for another.",
    "token",
  ],
  at_capacity: [
    "The server is full",
    "The page keeps trying, and what is said meanwhile is kept for a minute.",
    "retry",
  ],
  unreachable: [
    "The server cannot be reached",
    "It may be down, or does not allow this page's address. The page keeps trying.",
    "retry",
  ],
  broken: [
    "The connection broke",
    "The page is connecting again. What is said meanwhile is kept for a minute.",
    "retry",
  ],
  draining: [
    "The server is restarting",
    "The page is connecting again. What is said meanwhile is kept for a minute.",
    "retry",
  ],
  forgotten: [
    "The server was restarted",
    "It has forgotten the session; a new one is beginning. What was shown is kept.",
    "retry",
  ],
  idle: [
    "The server ended an idle stream",
    "No sound reached it for a while. Start again.",
    "microphone",
  ],
};

/** Of which the words of the browser or the server would say nothing more. */
const TERSE = ["refused", "missing", "broken", "unreachable", "draining", "forgotten", "unauthorized"];

/**
 * @param {string} code
 * @param {string} [detail] in the words of the server or the browser
 * @returns {Trouble}
 */
export function trouble(code, detail = "") {
  const [title, text, way] = KNOWN[code] ?? [
    "The server ended the stream",
    "Start again; if it happens again, tell the server's operator what it said.",
    "microphone",
  ];
  const said = detail && !TERSE.includes(code) ? ` (${detail.replace(/\.$/, "")})` : "";
  return { code, title, text: `${text}${said}`, way };
}
