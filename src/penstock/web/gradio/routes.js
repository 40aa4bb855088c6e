// Which of Gradio's routes an address is. No DOM, no network.

/**
 * What the page does about a request of Gradio's.
 * `data`: the stream of a session; `join`: an event begins; `heartbeat`: a page is there; `config`: the app, as it is built;
 * `call`: one without the queue; `repeatable`: asked twice it does no more than once; `other`: as it is, but for the session's name.
 * @typedef {'data'|'join'|'call'|'heartbeat'|'cancel'|'config'|'repeatable'|'other'} Kind
 */

/** @type {[RegExp, string, Kind][]} path under Gradio's API, method */
const ROUTES = [
  [/^queue\/data$/, 'GET', 'data'],
  [/^queue\/join$/, 'POST', 'join'],
  [/^(run|api)\/[^/]+\/?$/, 'POST', 'call'],
  [/^heartbeat\/[^/]+$/, 'GET', 'heartbeat'],
  [/^cancel$/, 'POST', 'cancel'],
  [/^reset$/, 'POST', 'repeatable'],
  [/^stream\/[^/]+\/close$/, 'POST', 'repeatable'],
  [/^upload$/, 'POST', 'repeatable'], // a second copy of a file is swept like any other
  [/^(app_id|info|startup-events)$/, 'GET', 'repeatable'],
];

/** Gradio's API, by the address of ours that lies below it. */
export class Routes {
  /** @param {string} base of Penstock, below Gradio's API, with a slash at the end */
  constructor(base) {
    const api = new URL('../', base);
    this.api = api.href;
    this.origin = api.origin;
    this.path = api.pathname;
    this.config = new URL('../config', api).pathname; // where there is no prefix for the API this never matches
  }

  /**
   * @param {URL} url
   * @param {string} method
   * @returns {Kind|null} null: none of this app's
   */
  kindOf({ origin, pathname }, method) {
    if (origin !== this.origin) return null;
    if (pathname === this.config && method === 'GET') return 'config';
    if (!pathname.startsWith(this.path) || pathname.startsWith(`${this.path}penstock/`)) return null;
    const rest = pathname.slice(this.path.length);
    for (const [pattern, wanted, kind] of ROUTES) if (method === wanted && pattern.test(rest)) return kind;
    return 'other';
  }
}

/**
 * The same request for another session.
 * @param {string} url
 * @param {string} from a session's name, as Gradio's page made it: random, so it is found by itself
 * @param {string} to
 */
export function renamedUrl(url, from, to) {
  return from === to ? url : url.replaceAll(from, encodeURIComponent(to));
}

/**
 * @param {BodyInit|null|undefined} body text (JSON) or a form; any other stays as it is
 * @param {string} from
 * @param {string} to
 * @returns {BodyInit|null|undefined}
 */
export function renamedBody(body, from, to) {
  if (from === to) return body;
  if (typeof body === 'string') return renamedText(body, from, to);
  if (body instanceof FormData && body.get('session_hash') === from) body.set('session_hash', to);
  return body;
}

// Parsed: what somebody sends may have a member of that name, too.
/** @param {string} text @param {string} from @param {string} to */
function renamedText(text, from, to) {
  if (!text.includes(from)) return text;
  const said = JSON.parse(text);
  return said?.session_hash === from ? JSON.stringify({ ...said, session_hash: to }) : text;
}

/** @param {URL} url @param {BodyInit|null|undefined} body @returns {string} the session that a request names; '' for none */
export function sessionIn({ pathname, searchParams }, body) {
  const named = /\/heartbeat\/([^/]+)$/.exec(pathname)?.[1] ?? searchParams.get('session_hash');
  if (named) return named;
  if (typeof body === 'string') return /"session_hash":"([A-Za-z0-9]+)"/.exec(body)?.[1] ?? '';
  if (body instanceof FormData) return String(body.get('session_hash') ?? '');
  return '';
}

/** What the server says of a session that is somebody else's. Gradio has none of it. */
const STRANGE = 'Session not found.';

/** @param {Response} response @returns {Promise<boolean>} whether nothing was done, as the session is somebody else's */
export async function isStrange(response) {
  if (response.status !== 404) return false;
  const said = await response
    .clone()
    .json()
    .catch(() => null);
  return said?.detail === STRANGE;
}

/** @param {object} body @returns {Response} as a server would send it */
export function jsonResponse(body) {
  return new Response(JSON.stringify(body), { headers: { 'Content-Type': 'application/json' } });
}
