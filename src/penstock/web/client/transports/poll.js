// Long-poll, for one run: where nothing but a short answer gets through.

import { Foreign, closingOf } from './closing.js';

/** Seconds that one answer may wait: the server's own most. */
const WAIT_S = 25;

/** Polls under way at once: browsers allow six connections to a host. */
const MAX_POLLS = 4;

/** Seconds that an answer may wait where there are more runs than that, or where the run waits: its position changes. */
const SHORT_WAIT_S = 2;

const LEAST_GAP_MS = 50; // the pace of a reader that polls is that of its asking: 20 updates a second

/** Between two answers with nothing in them. */
const EMPTY_GAP_MS = 1_000;

/** In which each of many runs has had its turn. */
const ROUND_S = 10;

let polling = 0;
/** @type {(() => void)[]} */ const waiting = [];

/** @type {import('./index.js').Open} */
export function open(server, { streams: [{ run, cursor, fold }], rate }, sink, env) {
  const abort = new AbortController();
  const path = `api/runs/${encodeURIComponent(run)}/events`;
  const gapMs = rate ? 1000 / rate : rate === 0 ? 0 : LEAST_GAP_MS;
  const place = { cursor, fold, waits: !cursor };
  const loop = async () => {
    for (let first = true; !abort.signal.aborted; first = false) {
      const askedMs = env.now();
      sink.inLine(true);
      const answer = await inTurn(abort.signal, () => {
        sink.inLine(false);
        return ask(server, `${path}?${query(place, rate, first)}`, abort.signal);
      });
      sink.alive();
      hand(answer, sink);
      place.cursor = answer.cursor;
      if (answer.done) return;
      if (answer.events.length) place.waits = false;
      else if (place.waits) sink.status(await standing(server, run, abort.signal));
      // A server, or something on the way, that does not wait is not asked at full speed.
      const leastMs = answer.events.length || first ? gapMs : EMPTY_GAP_MS - (env.now() - askedMs);
      if (leastMs > 0) await pause(leastMs, env);
    }
  };
  loop().then(
    () => abort.signal.aborted || sink.closed({ signal: 'refused', status: 204 }),
    (reason) => abort.signal.aborted || sink.closed(closingOf(reason)),
  );
  return { close: () => abort.abort() };
}

/**
 * @param {{cursor: string, fold: boolean, waits: boolean}} place
 * @param {number|undefined} rate
 * @param {boolean} first it comes at once: that tells that this way is open
 */
function query({ cursor, fold, waits }, rate, first) {
  const all = polling + waiting.length;
  const longestS = waits || all > MAX_POLLS ? SHORT_WAIT_S : WAIT_S;
  const waitS = first ? 0 : Math.min(longestS, (ROUND_S * MAX_POLLS) / all);
  const query = new URLSearchParams({ poll: String(waitS) });
  if (cursor) query.set('after', cursor);
  else if (fold) query.set('fold', '1');
  if (rate === 0) query.set('rate', '0');
  return query;
}

// A long-poll brings no status, and who waits in line has nothing else.
/** @param {import('../api.js').Server} server @param {string} run @param {AbortSignal} signal */
async function standing(server, run, signal) {
  const { state, position, eta_s, cancel } = await server.call(
    `api/runs/${encodeURIComponent(run)}`,
    undefined,
    signal,
  );
  return JSON.stringify({ state, position, eta_s, ...(cancel ? { cancel } : {}) });
}

/** @param {import('../api.js').Server} server @param {string} path @param {AbortSignal} signal */
async function ask(server, path, signal) {
  const answer = await server.call(path, undefined, signal);
  if (!Array.isArray(answer.events)) throw new Foreign();
  return answer;
}

// Events without a place of their own move no cursor: the answer's does.
/** @param {{events: any[], cursor: string}} answer @param {import('./index.js').Sink} sink */
function hand({ events, cursor }, sink) {
  const epoch = cursor.slice(0, cursor.lastIndexOf('-'));
  for (const event of events) sink.event(event, event.seq ? `${epoch}-${event.seq}` : '');
}

/**
 * @template T
 * @param {AbortSignal} signal
 * @param {() => Promise<T>} work
 */
async function inTurn(signal, work) {
  if (polling >= MAX_POLLS) await new Promise((resolve) => waiting.push(/** @type {() => void} */ (resolve)));
  polling += 1;
  try {
    signal.throwIfAborted();
    return await work();
  } finally {
    polling -= 1;
    waiting.shift()?.();
  }
}

/** @param {number} ms @param {import('./index.js').Env} env */
const pause = (ms, env) => new Promise((resolve) => env.setTimeout(resolve, ms));
