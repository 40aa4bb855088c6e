// Addresses: the part after `#` to a view and its parameters, and back. Pure.

/**
 * @typedef {object} Route
 * @property {'start'|'runs'|'queue'|'health'|'run'|'compare'} view
 * @property {Record<string, any>} params what its `show` gets
 * @property {string} [moved] the address that takes the place of this one
 */

const LISTS = /** @type {const} */ (['runs', 'queue', 'health']);

/**
 * @param {string} hash as `location.hash` has it
 * @returns {Route} the start, where the address leads nowhere
 */
export function routeOf(hash) {
  const [path, query = ''] = hash.replace(/^#/, '').split(/\?(.*)/s);
  const found = Object.fromEntries(new URLSearchParams(query));
  if (/^run_/.test(path)) return moved(runPath(decode(path)));
  const [first, ...rest] = path.split('/').filter(Boolean).map(decode);
  if (first === undefined) return { view: 'start', params: found };
  if (first === 'start') return { view: 'start', params: { ...found, function: rest[0] } };
  if (first === 'runs' && rest.length) return { view: 'run', params: { ...found, id: rest[0], rest: rest.slice(1) } };
  if (first === 'compare' && rest.length === 2)
    return { view: 'compare', params: { ...found, a: rest[0], b: rest[1] } };
  const list = LISTS.find((name) => name === first);
  return list ? { view: list, params: found } : moved('#/start');
}

/** @param {string} path @returns {Route} */
const moved = (path) => ({ ...routeOf(path), moved: path });

/** @param {string} id @returns {string} */
export const runPath = (id) => `#/runs/${encodeURIComponent(id)}`;

/** @param {string} name of a function @param {string} [from] a run whose input is to be shown @returns {string} */
export const startPath = (name, from) =>
  `#/start/${encodeURIComponent(name)}${from ? `?from=${encodeURIComponent(from)}` : ''}`;

/** @param {string} a @param {string} b run ids @returns {string} */
export const comparePath = (a, b) => `#/compare/${encodeURIComponent(a)}/${encodeURIComponent(b)}`;

/** @param {string} path @param {Record<string, string|undefined>} query empty values are left out @returns {string} */
export function withQuery(path, query) {
  const given = Object.entries(query).filter(([, value]) => value);
  return given.length ? `${path}?${new URLSearchParams(/** @type {any} */ (given))}` : path;
}

// A link that was cut short in a mail ends in half an escape; it is still a link.
/** @param {string} text */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
