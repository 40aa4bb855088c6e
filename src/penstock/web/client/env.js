// What the browser gives. Everything that needs it takes it as an argument, so that a test can give something else.

/** @type {import('./transports/index.js').Env} */
export const BROWSER = {
  EventSource: globalThis.EventSource,
  WebSocket: globalThis.WebSocket,
  setTimeout: (work, ms) => globalThis.setTimeout(work, ms),
  clearTimeout: (timer) => globalThis.clearTimeout(timer),
  now: () => Date.now(),
  random: () => Math.random(),
  hidden: () => globalThis.document?.hidden ?? false,
};
