// A pretended world for the client's loop: a clock that is advanced, and a server that lives in memory.

/** Timers that run when time is advanced, and chance from a seed. */
export class World {
  nowMs = 1_000_000;
  #timers = [];
  #id = 0;

  constructor(seed = 1) {
    this.seed = seed;
    this.env = {
      EventSource: undefined,
      WebSocket: undefined,
      setTimeout: (work, ms) => {
        this.#timers.push({ id: (this.#id += 1), atMs: this.nowMs + Math.max(0, ms), work });
        return this.#id;
      },
      clearTimeout: (id) => {
        this.#timers = this.#timers.filter((timer) => timer.id !== id);
      },
      now: () => this.nowMs,
      random: () => this.chance(),
      hidden: () => false,
    };
  }

  /** mulberry32: small and good enough to shuffle with. */
  chance() {
    let t = (this.seed += 0x6d2b79f5);
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  pick(count) {
    return Math.floor(this.chance() * count);
  }

  /** What is waiting in promises and streams has happened. */
  async settle() {
    for (let n = 0; n < 6; n += 1) await new Promise((resolve) => setImmediate(resolve));
  }

  async pass(ms) {
    await this.settle();
    for (const untilMs = this.nowMs + ms; ;) {
      const [next] = this.#timers.filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs || a.id - b.id);
      if (!next) {
        this.nowMs = untilMs;
        return this.settle();
      }
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.work();
      await this.settle();
    }
  }
}

const EPOCH = 'epoch123';
const encoder = new TextEncoder();

/** Runs with logs, over fetch: SSE for one and for several, and long-poll. `merge` joins neighbours as the server may. */
export class PretendedServer {
  runs = new Map();
  streams = new Set();
  asked = [];
  epoch = EPOCH;
  away = false;
  status = 0; // what every request for events is refused with
  token = null;

  constructor(merge = (events) => events) {
    this.merge = merge;
  }

  log(run) {
    if (!this.runs.has(run)) this.runs.set(run, []);
    return this.runs.get(run);
  }

  append(run, event) {
    const log = this.log(run);
    log.push({ ...event, seq: log.length + 1, at_ms: 1 });
  }

  /** Send what has been appended to those who stand there. */
  flush() {
    for (const stream of this.streams) stream.flush();
  }

  cut() {
    for (const stream of [...this.streams]) stream.cut();
  }

  fetch = async (url, { signal, headers = {} } = {}) => {
    this.asked.push(url);
    if (this.away) throw new TypeError('Failed to fetch');
    if (this.token && headers.Authorization !== `Bearer ${this.token}`) return refusal(401);
    const { pathname, searchParams } = new URL(url);
    if (pathname === '/api/events') return this.#several(searchParams, signal);
    const [, run, events] = /^\/api\/runs\/([^/]+)(\/events)?$/.exec(pathname);
    if (!this.runs.has(run)) return refusal(404);
    if (!events) return Response.json({ run_id: run });
    if (this.status) return refusal(this.status);
    if (searchParams.has('poll')) return this.#poll(run, searchParams);
    return this.#stream([[run, searchParams.get('after') ?? '']], signal, searchParams.get('fold'), false);
  };

  #several(query, signal) {
    const asked = query.getAll('stream').map((text) => text.split('@'));
    if (asked.some(([run]) => !this.runs.has(run))) return refusal(404);
    return this.#stream(
      asked.map(([run, cursor = '']) => [run, cursor]),
      signal,
      query.get('fold'),
      true,
    );
  }

  #after(cursor) {
    if (!cursor) return 0;
    const [epoch, seq] = cursor.split('-');
    return epoch === this.epoch ? Number(seq) : null;
  }

  #poll(run, query) {
    const after = this.#after(query.get('after') ?? '');
    const events = this.log(run).slice(after ?? 0, (after ?? 0) + 7); // an answer has its bounds
    const seq = events.at(-1)?.seq ?? after ?? 0;
    if (after === null) events.unshift({ type: 'reset', to: 0, reason: 'another epoch' });
    return Response.json({ events, cursor: `${this.epoch}-${seq}`, done: this.log(run)[seq - 1]?.type === 'end' });
  }

  #stream(asked, signal, _fold, several) {
    let controller;
    const places = asked.map(([run, cursor]) => ({
      run,
      reset: this.#after(cursor) === null,
      seq: this.#after(cursor) ?? 0,
    }));
    const over = () => places.every(({ run, seq }) => this.log(run)[seq - 1]?.type === 'end');
    if (over()) return new Response(null, { status: 204 });
    const ids = () => places.map(({ seq }) => `${this.epoch}-${seq}`).join(',');
    const body = new ReadableStream({
      start: (given) => {
        controller = given;
      },
    });
    const write = (text) => controller.enqueue(encoder.encode(text));
    const stream = {
      places,
      flush: () => {
        for (const place of places) {
          const named = several ? { stream: place.run } : {};
          if (place.reset)
            write(`data: ${JSON.stringify({ type: 'reset', to: 0, reason: 'another epoch', ...named })}\n\n`);
          place.reset = false;
          for (const event of this.merge(this.log(place.run).slice(place.seq))) {
            place.seq = event.seq;
            write(`id: ${ids()}\ndata: ${JSON.stringify({ ...event, ...named })}\n\n`);
          }
        }
        if (over()) stream.close();
      },
      write,
      cut: () => {
        this.streams.delete(stream);
        try {
          controller.error(new TypeError('network error'));
        } catch {
          /* closed before */
        }
      },
      close: () => {
        this.streams.delete(stream);
        try {
          controller.close();
        } catch {
          /* closed before */
        }
      },
    };
    signal?.addEventListener('abort', () => stream.cut());
    this.streams.add(stream);
    write(': heartbeat 15\n\n');
    queueMicrotask(() => this.streams.has(stream) && stream.flush());
    return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } });
  }
}

function refusal(status) {
  return Response.json({ error: { code: `code_${status}`, message: `refused with ${status}` } }, { status });
}
