// What a page that is loaded again takes over from the one before it: a plan, and what becomes of it. No DOM, no network.

import { addDouble, allFollowersOf, followersOf, isCalledAfter, isLoad, isRender } from './config.js';

/**
 * @typedef {import('./config.js').Config} Config
 * @typedef {import('./memory.js').Begun} Begun
 *
 * @typedef {object} Taken what the page does about an event of the one before
 * @property {Begun} begun
 * @property {boolean} follow whether what comes after it is still to be called
 *
 * @typedef {object} Answer how a double's call is answered
 * @property {Begun|null} begun by this event; null: it is called as what it doubles
 * @property {number} fn what it doubles
 * @property {number} root of its chain
 */

/**
 * Events that the page has to listen to. One that has ended counts where nothing came of its end: the page was gone before it
 * called what follows.
 * @param {Config} config
 * @param {Begun[]} events oldest first
 * @returns {Taken[]}
 */
export function toTake(config, events) {
  return events.flatMap((begun, place) => {
    if (begun.state === 'sent' && !begun.body) return [];
    if (isRender(config, begun.fn)) return [];
    if (begun.state === 'done' && !begun.id) return []; // it had no place in the queue
    if (begun.state !== 'done') return [{ begun, follow: true }];
    const follow = isUnfollowed(config, begun, events.slice(place + 1));
    return follow || begun.lost ? [{ begun, follow }] : [];
  });
}

/** @param {Config} config @param {Begun} begun @param {Begun[]} later */
function isUnfollowed(config, begun, later) {
  if (later.some(({ fn }) => fn === begun.fn)) return false; // its like has been called again since
  const isCalled = isCalledAfter(config, begun.failed === true);
  const due = followersOf(config, begun.fn).filter((one) => one.backend_fn && isCalled(one));
  return due.length > 0 && due.every(({ id }) => !later.some(({ fn }) => fn === id));
}

/**
 * Components that would have been set up again after an event, had it not failed: a chat's text box, locked while it is
 * answered, say. Where Gradio does not call what does that, nothing but a new page unlocks them.
 * @param {Config} config
 * @param {Begun[]} events oldest first
 * @returns {Set<number>}
 */
export function leftLocked(config, events) {
  const isCalled = isCalledAfter(config, true);
  const last = events.filter(({ fn, state, failed }, place) => {
    return state === 'done' && failed && !events.slice(place + 1).some((later) => later.fn === fn);
  });
  const missed = last.flatMap(({ fn }) =>
    followersOf(config, fn)
      .filter((one) => !isCalled(one) && !one.trigger_only_on_success)
      .flatMap((one) => [one, ...allFollowersOf(config, one.id)]),
  );
  return new Set(missed.flatMap(({ outputs }) => outputs));
}

/** Doubles, by their ids, and the events that answer for them. */
export class Doubles {
  /** @type {Map<number, Answer>} */ #answers = new Map();
  /** @type {Set<number>} roots of chains that have come to nothing */ #void = new Set();

  /**
   * @param {Config} config is changed
   * @param {Taken[]} taken
   */
  constructor(config, taken) {
    for (const { begun, follow } of taken) {
      if (isLoad(config, begun.fn)) {
        if (begun.state !== 'done') this.#answers.set(begun.fn, { fn: begun.fn, root: begun.fn, begun });
        continue; // it is called by itself when the page loads
      }
      const made = addDouble(config, begun.fn, follow);
      if (!made) continue;
      for (const [id, fn] of made.doubles)
        this.#answers.set(id, { fn, root: made.root, begun: id === made.root ? begun : null });
    }
  }

  get size() {
    return this.#answers.size;
  }

  /** @param {number} fn @returns {Answer|undefined} undefined: no double */
  of(fn) {
    return this.#answers.get(fn);
  }

  /**
   * A function that is called by itself when the page loads is answered for once.
   * @param {number} fn
   */
  used(fn) {
    if (this.#answers.get(fn)?.fn === fn) this.#answers.delete(fn);
  }

  /** @param {number} fn @returns {number} what is called on the server */
  originalOf(fn) {
    return this.#answers.get(fn)?.fn ?? fn;
  }

  /**
   * Nothing comes of a chain: its event is not there.
   * @param {number} root
   */
  giveUp(root) {
    this.#void.add(root);
  }

  /** @param {Answer} answer */
  isVoid({ root }) {
    return this.#void.has(root);
  }
}
