/** The worker's part of `pulse.js`: beats every so many milliseconds, from when it is told. */
onmessage = ({ data }) => setInterval(() => postMessage(null), data);
