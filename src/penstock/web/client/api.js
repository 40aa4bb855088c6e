// The HTTP calls.

import { PenstockError } from './errors.js';

/** How far the server's clock is ahead of ours, in milliseconds; under 2 s it is the header's coarseness. */
export const clock = { skewMs: 0, now: () => Date.now() + clock.skewMs };

const SUBMIT_ATTEMPTS = 6; // about 15 s: a server that restarts is back by then

/**
 * GET, or POST where there is a body.
 * @param {string} base @param {string} path @param {object} [body]
 * @returns {Promise<any>}
 * @throws {PenstockError} for any answer but a success; status 0: no answer
 */
export async function call(base, path, body) {
  const headers = { 'Content-Type': 'application/json' };
  const request = body && { method: 'POST', body: JSON.stringify(body), headers };
  const response = await fetch(base + path, request).catch(() => {
    throw new PenstockError(0, { message: 'The server does not answer.', hint: 'Is it running?' });
  });
  const skewMs = Date.parse(response.headers.get('Date') ?? '') - Date.now();
  clock.skewMs = Math.abs(skewMs) > 2000 ? skewMs : 0;
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new PenstockError(response.status, answer.error);
  return answer;
}

/**
 * Start a run. Tries again while the server is away; the key makes that one run, whatever got through.
 * @param {string} base @param {string} name of the function @param {object} input
 * @param {{key?: string, session?: string}} options
 * @returns {Promise<any>}
 */
export async function submit(base, name, input, { key, session } = {}) {
  const random = [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join('-');
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await call(base, 'api/runs', { function: name, input, key: key ?? random, session });
    } catch (caught) {
      const error = /** @type {PenstockError} */ (caught);
      const away = [0, 502, 504].includes(error.status) || error.code === 'server_closing';
      if (!away || attempt === SUBMIT_ATTEMPTS) throw error;
      await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** attempt * (0.5 + Math.random() / 2)));
    }
  }
}
