// node --test: tabs and the worker that reads for them, in a pretended browser: its locks, its SharedWorker, its ends.

import assert from 'node:assert/strict';
import { after, afterEach, test } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import { Server } from '../../src/penstock/web/client/api.js';
import { SharedLink } from '../../src/penstock/web/client/tabs.js';
import { PretendedServer } from './pretended.js';

const WORKER = new URL('../../src/penstock/web/client/worker.js', import.meta.url);

/** Web Locks, as far as they are used. A holder that dies is let go of by `free`. */
class Locks {
  #held = new Map();
  #waiting = [];

  request(name, ...rest) {
    const work = rest.pop();
    const { signal, mode } = rest[0] ?? {};
    const lateMs = name.startsWith('penstock-worker-') && !mode ? 30 : 0; // the worker's own: it is another process
    return new Promise((resolve, reject) => {
      const one = { name, work, resolve };
      setTimeout(() => {
        this.#waiting.push(one);
        this.#grant();
      }, lateMs);
      signal?.addEventListener('abort', () => {
        if (!this.#waiting.includes(one)) return;
        this.#waiting = this.#waiting.filter((other) => other !== one);
        reject(new DOMException('aborted', 'AbortError'));
      });
    });
  }

  free(name) {
    this.#held.delete(name);
    this.#grant();
  }

  get names() {
    return [...this.#held.keys()];
  }

  /** Tabs that wait for the end of a worker. */
  get mourners() {
    return this.#waiting.filter(({ name }) => name.startsWith('penstock-worker-')).length;
  }

  #grant() {
    for (const one of [...this.#waiting]) {
      if (this.#held.has(one.name)) continue;
      this.#held.set(one.name, one);
      this.#waiting = this.#waiting.filter((other) => other !== one);
      Promise.resolve(one.work())
        .then(one.resolve)
        .finally(() => this.#held.get(one.name) === one && this.free(one.name));
    }
  }
}

/** @type {any} */ let browser = null;
let count = 0;

function makeBrowser() {
  const server = new PretendedServer();
  const locks = new Locks();
  const workers = [];
  const ports = [];
  browser = { server, locks, workers, ports };
  Object.defineProperty(globalThis, 'navigator', { value: { locks }, configurable: true });
  globalThis.fetch = server.fetch;
  globalThis.SharedWorker = class {
    constructor(_url, { name }) {
      const { port1, port2 } = new MessageChannel();
      ports.push(port1, port2);
      this.port = port1;
      let host = workers.find((one) => one.name === name && !one.dead);
      if (!host) workers.push((host = { name, dead: false, ports: [], self: begin(name) }));
      host.ports.push(port2);
      host.self.then((self) => host.dead || self.onconnect({ ports: [port2] }));
    }
  };
  return browser;
}

async function begin(name) {
  globalThis.self = { name };
  const { self } = globalThis;
  await import(`${WORKER}?${(count += 1)}`);
  return self;
}

/** The worker is ended by the system, without a word. */
function kill(host) {
  host.dead = true;
  for (const port of host.ports) port.close();
  for (const name of browser.locks.names.filter((one) => one.startsWith('penstock-worker-'))) browser.locks.free(name);
}

afterEach(() => {
  for (const port of browser.ports) port.close();
  browser.server.cut();
});

after(() => setTimeout(() => process.exit(), 100)); // tabs and workers have no end of their own

function openTab() {
  return new SharedLink(new Server('http://pretended/'), ['fetch', 'poll']);
}

function read(link, run) {
  const seen = { seqs: [], shared: null, errors: [] };
  seen.joined = link.join({
    run,
    on: {
      events(events) {
        seen.seqs.push(...events.map(({ seq }) => seq));
        setImmediate(() => seen.joined.ack());
      },
      status() {},
      connection: (about) => {
        seen.shared = about.shared;
      },
      refused: (error) => seen.errors.push(error),
    },
  });
  return seen;
}

function write(run, upTo) {
  while (browser.server.log(run).length < upTo) browser.server.append(run, { type: 'json', value: 1 });
  browser.server.flush();
}

async function until(condition, words) {
  for (let n = 0; n < 1_000 && !condition(); n += 1) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.ok(condition(), words);
}

const upTo = (last) => Array.from({ length: last }, (_, at) => at + 1);

test('tabs share one connection, and one that dies is let go', async () => {
  const { server, locks, workers } = makeBrowser();
  write('a', 3);
  const [one, two] = [read(openTab(), 'a'), read(openTab(), 'a')];
  await until(() => one.seqs.length === 3 && two.seqs.length === 3, 'both have three');
  await until(() => locks.mourners === 2, 'both will know of its end');
  assert.deepEqual([one.shared, server.streams.size, workers.length, workers[0].ports.length], [true, 1, 1, 2]);
  const tabs = locks.names.filter((name) => !name.startsWith('penstock-worker-'));
  assert.equal(tabs.length, 2);
  tabs.forEach((name) => locks.free(name));
  await until(() => server.streams.size === 0, 'nobody reads, nothing is open');
});

test('a worker that dies is replaced, and each tab has every event once', async () => {
  const { workers, locks } = makeBrowser();
  write('a', 3);
  const [one, two] = [read(openTab(), 'a'), read(openTab(), 'a')];
  await until(() => one.seqs.length === 3 && two.seqs.length === 3, 'both have three');
  for (let last = 4; last <= 7; last += 1) {
    await until(() => locks.mourners === 2, 'both will know of its end');
    kill(workers.at(-1));
    write('a', last);
    await until(() => workers.length === last - 2, 'another worker');
    await until(() => one.seqs.length >= last && two.seqs.length >= last, `both have ${last}`);
    assert.deepEqual([one.seqs, two.seqs], [upTo(last), upTo(last)]);
  }
  assert.deepEqual([one.shared, one.errors], [true, []]);
});

test('where a worker never answers a tab reads by itself', async () => {
  makeBrowser();
  globalThis.SharedWorker = class {
    port = { postMessage() {}, close() {} };
  };
  write('a', 3);
  const link = openTab();
  const seen = read(link, 'a');
  await until(() => seen.seqs.length === 3, 'all three');
  assert.deepEqual([seen.seqs, seen.shared], [upTo(3), false]);
});
