// What a browser remembers: where each run was read to (this tab), and which transport got through (this origin).

/** Runs whose cursors a tab keeps; the one that was read longest ago goes first. */
export const MAX_CURSORS = 200;

/** A transport that got through is tried first for a day: networks change, and the first choice is the best one. */
const TRANSPORT_MS = 24 * 60 * 60 * 1000;

const CURSORS = 'penstock:cursors';
const TRANSPORT = 'penstock:transport';

/** @typedef {Pick<Storage, 'getItem'|'setItem'>} Shelf */

/** Where this tab's readers stand; a reload, a restored or a duplicated tab finds it again. */
export class Cursors {
  /** @type {Map<string, string>} */ #kept;
  #written = true;

  /** @param {Shelf|null} shelf sessionStorage, where there is one @param {(write: () => void) => void} soon */
  constructor(shelf, soon) {
    this.shelf = shelf;
    this.soon = soon;
    const kept = parse(shelf?.getItem(CURSORS) ?? null, []);
    const pairs = Array.isArray(kept) ? kept.filter(Array.isArray) : []; // others may write there
    this.#kept = new Map(/** @type {[string, string][]} */ (pairs));
  }

  /** @param {string} run with its server's address @returns {string} '' where none is known */
  get(run) {
    return this.#kept.get(run) ?? '';
  }

  /** @param {string} run @param {string} cursor */
  set(run, cursor) {
    this.#kept.delete(run);
    this.#kept.set(run, cursor);
    if (this.#kept.size > MAX_CURSORS) this.#kept.delete(/** @type {string} */ (this.#kept.keys().next().value));
    if (!this.#written) return;
    this.#written = false;
    this.soon(() => this.write());
  }

  /** To the shelf, now: the page may be on its way out. */
  write() {
    if (this.#written) return;
    this.#written = true;
    put(this.shelf, CURSORS, [...this.#kept]);
  }
}

/** @param {Shelf|null} shelf localStorage @param {string} base @param {number} now @returns {any} a transport's name, or null */
export function recallTransport(shelf, base, now) {
  const { name = null, atMs = 0 } = parse(shelf?.getItem(`${TRANSPORT}:${base}`) ?? null, {});
  return now - atMs < TRANSPORT_MS ? name : null;
}

/** @param {Shelf|null} shelf @param {string} base @param {string} name @param {number} now */
export function rememberTransport(shelf, base, name, now) {
  put(shelf, `${TRANSPORT}:${base}`, { name, atMs: now });
}

/** @param {(name: any) => void} act @returns {(name: any) => void} calls it for another name only */
export function once(act) {
  /** @type {any} */ let last;
  return (name) => {
    if (name !== last) act((last = name));
  };
}

/**
 * A shelf, unless the browser denies it (a sandboxed frame, a person's settings).
 * @param {'sessionStorage'|'localStorage'} name
 * @returns {Shelf|null}
 */
export function shelfOf(name) {
  try {
    return globalThis[name] ?? null;
  } catch {
    return null;
  }
}

/** @param {string|null} text @param {any} otherwise */
function parse(text, otherwise) {
  try {
    return JSON.parse(text ?? '') ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** @param {Shelf|null} shelf @param {string} key @param {any} value */
function put(shelf, key, value) {
  try {
    shelf?.setItem(key, JSON.stringify(value));
  } catch {
    // full, or denied: remembering is a convenience
  }
}
