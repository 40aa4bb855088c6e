// One file to the server, in pieces, by tus 1.0: what has arrived need not be sent again, whatever broke in between.

import { PenstockError } from '../client/errors.js';
import { backoffMs } from '../client/reconnect.js';

const VERSION = { 'Tus-Resumable': '1.0.0' };

/** The first piece; then as much as goes in about a second: progress is seen, and little is lost with a connection. */
const FIRST_BYTES = 256 * 1024,
  LEAST_BYTES = 32 * 1024,
  MOST_BYTES = 8 * 1024 * 1024,
  PIECE_MS = 1000;

/** A piece that takes longer than this has no connection any more. */
const SILENCE_MS = 30_000;

/** In a row, without a byte more at the server: about two minutes. */
const MOST_FAILURES = 12;

/** Answers that another attempt may not get. 409: our offset is not the server's; 423: our last connection still holds it. */
const PASSING = [0, 408, 409, 423, 425, 429, 500, 502, 503, 504];

/** The upload is not there: it was finished with, or too old. */
const GONE = [404, 410];

/**
 * @typedef {object} Environment
 * @property {typeof fetch} fetch
 * @property {() => number} now @property {() => number} random
 * @property {(ms: number) => Promise<void>} pause until then, or until the network is back
 * @property {() => boolean} offline
 */

/** @type {Environment} */
const BROWSER = {
  fetch: (...given) => fetch(...given),
  now: () => performance.now(),
  random: Math.random,
  pause: (ms) =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, navigator.onLine ? ms : 2 ** 31 - 1);
      addEventListener('online', () => resolve(clearTimeout(timer)), { once: true });
    }),
  offline: () => !navigator.onLine,
};

/** @param {number} bytes that were sent @param {number} ms it took @returns {number} how many to send next */
export function nextPiece(bytes, ms) {
  const wanted = (bytes * PIECE_MS) / Math.max(ms, 1);
  return Math.round(Math.min(MOST_BYTES, Math.max(LEAST_BYTES, Math.min(wanted, 2 * bytes))));
}

/** @param {string} name of a file @param {string} type @returns {string} of the header Upload-Metadata */
export function metadataOf(name, type) {
  /** @param {string} text */
  const base64 = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
  return [`filename ${base64(name)}`, type && `filetype ${base64(type)}`].filter(Boolean).join(',');
}

/** A file on its way. `change` is called whenever a field has changed. */
export class Upload {
  /** @type {'uploading'|'waiting'|'done'|'failed'|'cancelled'} waiting: for the network or the server */ state =
    'uploading';
  sent = 0;
  /** the upload's, once it is done */ id = '';
  /** @type {PenstockError | null} */ error = null;
  #bytes = FIRST_BYTES;
  #failures = 0;
  #underway = new AbortController();

  /**
   * @param {Blob & {name: string}} file
   * @param {object} options
   * @param {string} options.to the address that makes uploads
   * @param {string} [options.at] of an upload of this file that was begun before
   * @param {(url: string) => void} [options.began] where it is, to be remembered
   * @param {() => void} [options.change]
   * @param {Environment} [options.env]
   */
  constructor(file, { to, at = '', began = () => {}, change = () => {}, env = BROWSER }) {
    this.file = file;
    this.to = to;
    this.at = at;
    this.began = began;
    this.change = change;
    this.env = env;
    /** never rejects */ this.settled = this.#run();
  }

  /** Stop, and have the server forget it. */
  cancel() {
    if (this.state === 'done' || this.state === 'failed') return;
    this.#set('cancelled');
    this.#underway.abort();
    if (this.at) this.env.fetch(this.at, { method: 'DELETE', headers: VERSION }).catch(() => {}); // it expires anyhow
  }

  async #run() {
    let known = false;
    while (this.state === 'uploading' || this.state === 'waiting') {
      try {
        if (!known) await this.#stand();
        known = true;
        await this.#send();
      } catch (error) {
        if (!(error instanceof PenstockError)) throw error;
        known = false;
        await this.#failed(error);
      }
    }
  }

  // Where it stands: what the server has of it, which may be nothing yet.
  async #stand() {
    if (this.at) {
      const answer = await this.#ask(this.at, { method: 'HEAD' }, GONE);
      this.at = answer.ok ? this.at : '';
      this.#move(answer.ok ? Number(answer.headers.get('Upload-Offset')) : 0);
    }
    if (this.at) return;
    const headers = {
      'Upload-Length': String(this.file.size),
      'Upload-Metadata': metadataOf(this.file.name, this.file.type),
    };
    const answer = await this.#ask(this.to, { method: 'POST', headers });
    const { upload_id: id } = await answer.json().catch(() => ({}));
    this.at = `${this.to}/${encodeURIComponent(id)}`; // not the Location: a proxy may have put all this elsewhere
    this.began(this.at);
  }

  async #send() {
    while (this.sent < this.file.size && this.state !== 'cancelled') {
      this.#set('uploading');
      const body = this.file.slice(this.sent, this.sent + this.#bytes);
      const startedMs = this.env.now();
      const headers = { 'Upload-Offset': String(this.sent), 'Content-Type': 'application/offset+octet-stream' };
      const answer = await this.#ask(this.at, { method: 'PATCH', headers, body });
      this.#bytes = nextPiece(body.size, this.env.now() - startedMs);
      const offset = Number(answer.headers.get('Upload-Offset'));
      if (!(offset > this.sent)) throw new PenstockError(502, { message: 'The server keeps nothing of it.' });
      this.#move(offset);
    }
    if (this.state === 'cancelled') return;
    this.id = decodeURIComponent(new URL(this.at).pathname.split('/').pop() ?? '');
    this.#set('done');
  }

  /** @param {number} offset */
  #move(offset) {
    if (offset > this.sent) this.#failures = 0;
    this.sent = offset;
    this.change();
  }

  /**
   * @param {string} url @param {RequestInit} request
   * @param {number[]} [expected] refusals that the caller looks at
   */
  async #ask(url, request, expected = []) {
    const underway = new AbortController();
    this.#underway = underway;
    const timer = setTimeout(() => underway.abort(), SILENCE_MS);
    const sent = { ...request, headers: { ...VERSION, ...request.headers }, signal: underway.signal };
    const away = () => {
      throw new PenstockError(0, { message: 'The server does not answer.' });
    };
    const answer = await this.env
      .fetch(url, sent)
      .catch(away)
      .finally(() => clearTimeout(timer));
    if (answer.ok || expected.includes(answer.status)) return answer;
    const { error } = await answer.json().catch(() => ({}));
    throw new PenstockError(answer.status, error, 1000 * Number(answer.headers.get('Retry-After') ?? 0) || 0);
  }

  /** @param {any} error */
  async #failed(error) {
    if (this.state === 'cancelled') return;
    this.#bytes = Math.max(LEAST_BYTES, Math.round(this.#bytes / 2));
    const passing = PASSING.includes(error.status) || (GONE.includes(error.status) && this.at);
    // Without a network nothing was tried: a laptop that is closed for the night has not failed.
    if (!this.env.offline()) this.#failures += 1;
    if (!passing || this.#failures > MOST_FAILURES) {
      this.error = error;
      this.#set('failed');
      return;
    }
    this.#set('waiting');
    await this.env.pause(Math.max(error.retryAfterMs, backoffMs(this.#failures - 1, this.env.random())));
  }

  /** @param {Upload['state']} state */
  #set(state) {
    if (this.state === state) return;
    this.state = state;
    this.change();
  }
}
