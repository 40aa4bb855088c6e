// One connection for any number of readers. It lives in a tab, or in the browser's SharedWorker for all its tabs.

import { PenstockError } from './errors.js';
import { Reader } from './reader.js';
import { backoffMs } from './reconnect.js';
import { Source, Torn } from './source.js';
import { Connection } from './stream.js';
import { TRANSPORTS, usable } from './transports/index.js';
import { DEFAULT_RATE } from './transports/urls.js';

/** Streams over one connection: the server's bound. */
const MAX_STREAMS = 100;

/** What is asked for in one go of the page takes one connection, not one for each. */
const GATHER_MS = 10;

/** How long an ordinary request may take before the server counts as away. */
const PROBE_MS = 5_000;

/** Wait at most before another round through all transports. */
const ROUND_CAP_MS = 30_000;

/** Rounds through all transports in which nothing came: a quarter of an hour. What stands in the way will not leave. */
const MAX_ROUNDS = 40;

/** What has got through once is not left for good: networks change, and the first choice is the best one. */
const AGAIN_MS = 24 * 60 * 60 * 1000;

/** Wait before reading on where something other than what follows has come. */
const TORN_MS = 1_000;

/** Times in a row that this may happen to a run: more is no accident. */
const MAX_TORN = 8;

const OUT_OF_ORDER = { code: 'protocol', message: 'The server sends events that do not follow each other.' };

const NO_WAY = {
  code: 'no_way',
  message: 'The server answers, but its events do not get through.',
  hint: 'Is something in between, such as a login page or a proxy that holds answers back?',
};

/** @typedef {{connection: Connection, sources: import('./source.js').Source[]}} Line */

/** Readers in, connections out. */
export class Hub {
  /** @type {Map<string, Source>} */ #sources = new Map();
  /** @type {Line[]} */ #lines = [];
  /** @type {import('./transports/index.js').Transport[]} */ #transports;
  #which = 0;
  #lost = false;
  #rounds = 0; // through all transports, since anything came
  #fellMs;
  #suspended = false;
  /** @type {any} */ #timer = null;

  /**
   * @param {import('./api.js').Server} server
   * @param {import('./transports/index.js').Env} env
   * @param {{transports: import('./transports/index.js').Transport[], proven?: import('./transports/index.js').Transport | null,
   *   onProven?: (transport: import('./transports/index.js').Transport) => void}} options `proven`: the one that got through last time
   */
  constructor(server, env, { transports, proven = null, onProven = () => {} }) {
    this.server = server;
    this.env = env;
    this.onProven = onProven;
    this.#transports = usable(transports, env, server.source !== null);
    this.#which = Math.max(0, proven ? this.#transports.indexOf(proven) : 0);
    this.#fellMs = env.now();
  }

  get transport() {
    return this.#transports[this.#which];
  }

  /** @param {import('./reader.js').Wish} wish @returns {Reader} */
  join(wish) {
    let source = this.#sources.get(wish.run);
    if (!source) {
      source = new Source(wish.run, wish.after ?? '');
      this.#sources.set(wish.run, source);
      this.#gather();
    }
    const reader = new Reader(this, source, wish);
    source.readers.add(reader);
    reader.begin();
    this.tell(source);
    this.#repace();
    return reader;
  }

  /** @param {Reader} reader */
  leave(reader) {
    reader.leave();
    const { source } = reader;
    source.readers.delete(reader);
    if (source.readers.size) return this.#repace();
    if (this.#sources.get(source.run) === source) this.#sources.delete(source.run);
    this.#gather();
  }

  /** @param {Reader} reader @param {number|undefined} rate */
  pace(reader, rate) {
    reader.pace(rate);
    this.#repace();
  }

  /** @param {'wake'|'online'} signal */
  wake(signal) {
    if (this.#which && this.env.now() - this.#fellMs > AGAIN_MS) return this.#startOver();
    for (const { connection } of this.#lines) connection.wake(signal);
  }

  #startOver() {
    this.#leaveWay();
    this.#which = 0;
    this.#gather(0);
  }

  /** The page goes into the browser's cache: hold no connection, which would keep it out of there. */
  suspend() {
    this.#suspended = true;
    this.#drop();
  }

  /** It is back: read on. */
  resume() {
    this.#suspended = false;
    this.#gather();
  }

  /** @returns {boolean} whether nobody reads */
  get idle() {
    return this.#sources.size === 0;
  }

  // ---- for readers

  /**
   * What follows a cursor, unmerged.
   * @param {string} run
   * @param {string} after
   * @param {boolean} fold
   * @returns {Promise<{events: any[], cursor: string, done: boolean}>}
   */
  ask(run, after, fold) {
    const query = new URLSearchParams({ poll: '0', rate: '0', ...(after ? { after } : fold ? { fold: '1' } : {}) });
    return this.server.call(`api/runs/${encodeURIComponent(run)}/events?${query}`);
  }

  /** @param {Reader} reader @param {Error} error */
  refuse(reader, error) {
    this.leave(reader);
    reader.on.refused(error);
  }

  // ---- connections

  #gather(afterMs = GATHER_MS) {
    this.env.clearTimeout(this.#timer);
    this.#timer = this.env.setTimeout(() => this.#connect(), afterMs);
  }

  #connect() {
    const live = [...this.#sources.values()].filter(({ ended }) => !ended);
    if (this.#suspended) return;
    const { several } = /** @type {any} */ (TRANSPORTS.get(this.transport));
    const groups = chunks(live, several ? MAX_STREAMS : 1);
    const kept = this.#lines.filter((line) => groups.some((group) => isSame(group, line.sources)));
    for (const line of this.#lines) if (!kept.includes(line)) line.connection.close();
    const fresh = groups.filter((group) => !kept.some((line) => isSame(group, line.sources)));
    this.#lines = [...kept, ...fresh.map((group) => this.#line(group))];
    this.#lost = false;
    for (const { connection, sources } of this.#lines.slice(kept.length)) {
      connection.open();
      if (sources.length > 1) for (const source of sources) if (source.unmoved) this.#askWhetherOver(source);
    }
  }

  #drop() {
    for (const line of this.#lines) line.connection.close();
    this.#lines = [];
  }

  /** @param {Source[]} sources @returns {Line} */
  #line(sources) {
    const line = /** @type {Line} */ ({ sources });
    let asked = sources; // in the order of the cursors that come back
    line.connection = new Connection(
      this.server,
      this.transport,
      {
        asked: () => {
          asked = sources.filter(({ ended }) => !ended);
          return { streams: asked.map(({ run, cursor, fold }) => ({ run, cursor, fold })), rate: rateOf(asked) };
        },
        rate: () => rateOf(sources.filter(({ ended }) => !ended)),
        event: (event, cursors) => this.#event(line, asked, event, cursors),
        status: (data) => this.#status(asked, data),
        change: (change) => this.#change(line, change),
        reset: () => asked.forEach((source) => source.reset('The place where this page stood is not there any more.')),
        fallBack: (held) => this.#fallBack(held),
        end: () => this.#ended(line),
        refused: (error) => this.#refused(line, error),
        probe: () => this.#probe(sources[0].run),
      },
      this.env,
      this.#lost,
    );
    return line;
  }

  /**
   * @param {Line} line
   * @param {Source[]} asked
   * @param {string|any} given
   * @param {string} cursors
   */
  #event(line, asked, given, cursors) {
    const data = typeof given === 'string' ? given : undefined;
    const event = data === undefined ? given : JSON.parse(data);
    const at = asked.length > 1 ? asked.findIndex(({ run }) => run === event.stream) : 0;
    const cursor = asked.length > 1 ? (cursors.split(',')[at] ?? '') : cursors;
    try {
      asked[at].take(plain(event), cursors && cursor, data);
    } catch (error) {
      return this.#torn(line, asked[at], error);
    }
    asked[at].torn = this.#rounds = 0;
    this.onProven(this.transport);
    if (asked[at].ended) this.#ended(line);
  }

  /** @param {Line} line @param {Source} source @param {unknown} error */
  #torn(line, source, error) {
    if (!(error instanceof Torn)) throw error;
    source.torn += 1;
    source.rewind();
    if (source.torn > MAX_TORN)
      for (const reader of [...source.readers]) this.refuse(reader, new PenstockError(0, OUT_OF_ORDER));
    else line.connection.later(TORN_MS);
  }

  /** @param {Source[]} asked @param {string} data */
  #status(asked, data) {
    const { stream } = JSON.parse(data);
    (stream === undefined ? asked[0] : asked.find(({ run }) => run === stream))?.say(data);
  }

  /** @param {Line} line @param {{resumed?: boolean}} change */
  #change({ sources }, { resumed = false }) {
    for (const source of sources) {
      if (resumed && !source.ended) source.resumes += 1;
      this.tell(source);
    }
  }

  /**
   * How its connection is, to its readers.
   * @param {Source} source
   */
  tell(source) {
    const connection = this.#lines.find(({ sources }) => sources.includes(source))?.connection;
    for (const reader of source.readers)
      reader.on.connection({
        connection: source.ended ? (reader.settled ? 'ended' : 'live') : (connection?.state ?? 'connecting'),
        transport: this.transport,
        draining: connection?.draining ?? false,
        resumes: source.resumes - reader.resumesBefore,
        duplicates: reader.duplicates,
        openedMs: connection?.openedMs ?? 0,
      });
  }

  /** @param {Line} line */
  #ended(line) {
    const over = line.connection.state === 'ended' || line.sources.every(({ ended }) => ended);
    for (const source of line.sources) {
      if (line.connection.state === 'ended') source.ended = true;
      if (!source.ended) continue;
      this.tell(source);
      if (this.#sources.get(source.run) === source) this.#sources.delete(source.run);
    }
    if (!over) return;
    line.connection.close();
    this.#lines = this.#lines.filter((other) => other !== line);
  }

  // Beside other runs nothing comes for a cursor that is that of the end, not even an answer's end.
  /** @param {Source} source */
  async #askWhetherOver(source) {
    const { cursor } = source;
    const { done = false, events = [] } = await this.ask(source.run, cursor, false).catch(
      () => /** @type {any} */ ({}),
    );
    if (!done || events.length || source.cursor !== cursor || !source.readers.size) return;
    source.ended = true;
    this.tell(source);
    this.#sources.delete(source.run);
    this.#gather();
  }

  // What had been live and comes back another way is resumed.
  #leaveWay() {
    this.#lost ||= this.#lines.some(({ connection }) => connection.wasLive);
    this.#drop();
  }

  /** @param {boolean} held bodies are held back: EventSource would wait for the same ones */
  #fallBack(held) {
    this.#leaveWay();
    this.#fellMs = this.env.now();
    this.#which = (this.#which + 1) % this.#transports.length;
    if (held && this.transport === 'eventsource') this.#which = (this.#which + 1) % this.#transports.length;
    if (this.#which !== 0) return this.#gather(0);
    this.#rounds += 1;
    if (this.#rounds > MAX_ROUNDS) this.#refuseAll(new PenstockError(0, NO_WAY));
    else this.#gather(backoffMs(this.#rounds + 2, this.env.random(), ROUND_CAP_MS));
  }

  /** @param {Error} error */
  #refuseAll(error) {
    this.#rounds = 0;
    for (const { readers } of [...this.#sources.values()])
      for (const reader of [...readers]) this.refuse(reader, error);
  }

  // Of several the server does not say which it means.
  /** @param {Line} line @param {Error} error */
  async #refused(line, error) {
    this.#lines = this.#lines.filter((other) => other !== line);
    const several = line.sources.length > 1 && error instanceof PenstockError && error.status === 404;
    let found = 0;
    for (const source of line.sources) {
      if (several && (await this.#probe(source.run))?.status !== 404) found += 1;
      else for (const reader of [...source.readers]) this.refuse(reader, error);
    }
    if (found === line.sources.length)
      this.#fallBack(false); // something on the way does not know of several
    else this.#gather();
  }

  /** @param {string} run @returns {Promise<PenstockError|null>} */
  async #probe(run) {
    const abort = new AbortController();
    const timer = this.env.setTimeout(() => abort.abort(), PROBE_MS);
    const asked = this.server.call(`api/runs/${encodeURIComponent(run)}`, undefined, abort.signal);
    const answered = asked.then(
      () => null,
      (error) => (error instanceof PenstockError ? error : new PenstockError(0)),
    );
    return answered.finally(() => this.env.clearTimeout(timer));
  }

  #repace() {
    for (const { connection, sources } of this.#lines) if (sources.some(({ ended }) => !ended)) connection.repace();
  }
}

// The fastest reader sets the pace; a slower one is handed what came in larger batches.
/** @param {Source[]} sources @returns {number|undefined} */
function rateOf(sources) {
  const rates = sources.flatMap(({ readers }) => [...readers].map(({ rate }) => rate ?? DEFAULT_RATE));
  const fastest = rates.includes(0) ? 0 : Math.max(...rates);
  return rates.length === 0 || fastest === DEFAULT_RATE ? undefined : fastest;
}

// The same whichever way it came.
/** @param {any} event */
export function plain(event) {
  delete event.stream;
  delete event.cursor;
  return event;
}

/** @param {Source[]} group @param {Source[]} other */
const isSame = (group, other) => {
  const live = other.filter(({ ended }) => !ended);
  return group.length === live.length && group.every((source, at) => source === live[at]);
};

/** @template T @param {T[]} all @param {number} size @returns {T[][]} */
function chunks(all, size) {
  const parts = [];
  for (let from = 0; from < all.length; from += size) parts.push(all.slice(from, from + size));
  return parts;
}
