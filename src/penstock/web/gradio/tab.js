// This tab's own page: which session it goes on with, what its components began with, and the events that it has begun.
// Everything here is a convenience: where it can't be had, the page reconnects, and begins anew when it is loaded again.

import { applyValues, followersOf, isKnown, isLoad, isRender, printOf, secretIn, seenIn } from './config.js';
import { isRestorable, listenToInputs } from './inputs.js';
import { Doubles, leftLocked, toTake } from './restore.js';

/**
 * @typedef {import('./config.js').Config} Config
 * @typedef {import('./memory.js').Begun} Begun
 * @typedef {import('./memory.js').Memory} Memory
 * @typedef {{take: (session: string) => Promise<boolean>, release: () => void}} Claims
 */

/** Gradio's page shows an output so long after it was told of it at most. */
const SHOWN_MS = 1_000;

/** What a page goes on with. */
export class Tab {
  /** @type {Config|null} */ config = null;
  /** @type {Doubles|null} */ doubles = null;
  /** components that began with another value than the app's */ restored = 0;
  #own = true;
  /** @type {Promise<string>|null} */ #session = null;
  /** @type {Set<number>} */ #seen = new Set();
  /** @type {Set<number>} those of them that can begin with what was sent */ #told = new Set();
  /** @type {Set<number>} components for passwords */ #secret = new Set();
  /** @type {Set<number>} components that somebody had given a value before this page was loaded */ #given = new Set();
  /** @type {Set<number>} functions that were called because it was loaded */ #loaded = new Set();
  /** @type {Map<number, number>} when outputs came, by component */ #shownMs = new Map();
  /** @type {Map<number, string>} values as the app has them, in JSON: Gradio's page may change what it is given */ #built = new Map();
  /** @type {Map<string, string>} what was called last with what, by the page before this one */ #before = new Map();

  /**
   * @param {Memory} memory
   * @param {Claims} claims
   * @param {() => string} makeName
   * @param {() => boolean} isTouched whether somebody has done anything on this page
   * @param {() => number} [now] ms
   */
  constructor(memory, claims, makeName, isTouched, now = () => performance.now()) {
    this.memory = memory;
    this.claims = claims;
    this.makeName = makeName;
    this.isTouched = isTouched;
    this.now = now;
  }

  /**
   * Have a page begin where the one before it stood.
   * @param {any} config of Gradio's; is changed
   * @returns {boolean} false where it is of no known kind: nothing was changed
   */
  edit(config) {
    if (!isKnown(config)) return false;
    const { memory } = this;
    const print = printOf(config);
    if (memory.print !== print) memory.reset({ session: memory.session, print });
    this.config = config;
    this.#seen = new Set(seenIn(config).keys());
    this.#told = new Set([...seenIn(config).values()].filter(isRestorable).map(({ id }) => id));
    this.#secret = new Set(secretIn(config));
    for (const { fn, id, sum, state } of memory.events)
      if (state === 'done' && sum) this.#before.set(`${fn} ${sum}`, id);
    this.#given = new Set(memory.given.map(Number));
    this.#built = new Map([...seenIn(config)].map(([id, { props }]) => [id, jsonOf(props.value)]));
    for (const id of leftLocked(config, memory.events)) memory.unlock(String(id));
    listenToInputs(config);
    this.restored = applyValues(config, structuredClone(memory.values));
    this.doubles = new Doubles(config, toTake(config, memory.events));
    return true;
  }

  /**
   * The session that this tab has. Another tab's copy of it gets one of its own.
   * @param {string} name as Gradio's page made it
   * @returns {Promise<string>}
   */
  session(name) {
    return (this.#session ??= this.#claim(name));
  }

  /** @param {string} name */
  async #claim(name) {
    const { memory, claims } = this;
    if (!memory.session) {
      memory.session = name;
      memory.writeAbout();
      claims.take(name);
    } else if (!(await claims.take(memory.session))) {
      this.#own = false;
      this.#begin();
    }
    return memory.session;
  }

  /**
   * The session that this tab had is not its any more: somebody else has logged in, the browser's cookies were cleared, or it
   * got another one with a page that was loaded at the same time.
   * @returns {string} another one
   */
  renew() {
    this.#own = false;
    return this.#begin();
  }

  #begin() {
    const { memory, claims } = this;
    memory.session = this.makeName();
    memory.events = [];
    memory.writeAbout();
    claims.take(memory.session);
    return memory.session;
  }

  /**
   * What answers a call, where it is not to be made.
   * @param {number} fn
   * @param {any[]|null} data null: only where it is a double's
   * @returns {{begun: Begun|null, root: number} | null} begun null: it is over, with nothing to show
   */
  answerTo(fn, data) {
    const answer = this.doubles?.of(fn);
    if (answer?.fn === fn) return this.#loads(answer);
    if (answer && (!this.#own || this.doubles?.isVoid(answer))) return { begun: null, root: answer.root };
    if (answer) return answer.begun && { begun: answer.begun, root: answer.root };
    return data && this.#repeated(fn, data);
  }

  // What the page calls by itself when it loads is under way already.
  /** @param {import('./restore.js').Answer} answer */
  #loads({ fn, begun, root }) {
    this.doubles?.used(fn);
    return this.#own ? { begun, root } : null;
  }

  // Components that begin with what they showed may say that they have changed: that was answered before.
  /** @param {number} fn @param {any[]} data */
  #repeated(fn, data) {
    if (!this.config || !this.restored || !this.#own || this.isTouched()) return null;
    if (isLoad(this.config, fn) || isRender(this.config, fn)) return null;
    const id = this.#before.get(`${fn} ${sumOf(data)}`);
    const begun = id && this.memory.events.find((one) => one.id === id);
    return begun ? { begun, root: -1 } : null;
  }

  /** @param {number} fn @returns {number} what is called on the server */
  originalOf(fn) {
    return this.doubles?.originalOf(fn) ?? fn;
  }

  /**
   * An event is about to be sent.
   * @param {{key: string, fn: number, body: string, data: any[]}} sent
   * @returns {Begun}
   */
  begin({ data, ...sent }) {
    this.#send(sent.fn, data);
    const body = this.#isSecret(sent.fn) ? '' : sent.body;
    return this.memory.begin({ ...sent, body, sum: sumOf(data) });
  }

  /** @param {number} fn @returns {boolean} whether it takes a password */
  #isSecret(fn) {
    const ids = this.#dependency(fn)?.inputs ?? [];
    return ids.some((id) => this.#secret.has(id) || this.memory.isSecret(String(id)));
  }

  /** @param {Begun} begun @param {string} id */
  opened(begun, id) {
    if (begun.state === 'sent') this.memory.change(begun, { id, state: 'open' });
  }

  /**
   * The page has been told an event's end.
   * @param {Begun} begun
   * @param {any[]|null} outputs its last
   * @param {boolean} failed
   * @param {number[]} [spared] places of those that it was not shown
   */
  ended(begun, outputs, failed, spared = []) {
    const kept = this.showed(begun.fn, outputs, spared);
    this.memory.change(begun, { state: 'done', ...(failed ? { failed } : {}), ...(kept ? {} : { lost: true }) });
  }

  /**
   * @param {number} fn
   * @returns {boolean} whether nothing that comes after it depends on how it ends
   */
  goesOn(fn) {
    if (!this.config) return false;
    return followersOf(this.config, fn).every((one) => !one.trigger_only_on_success && !one.trigger_only_on_failure);
  }

  /**
   * A call without the queue is about to be made. It is remembered as something that has been called.
   * @param {number} fn
   * @param {any[]} data
   */
  called(fn, data) {
    this.#send(fn, data);
    this.memory.change(this.memory.begin({ key: '', fn, body: '', sum: '' }), { state: 'done' });
  }

  /**
   * Outputs have come.
   * @param {number} fn
   * @param {any[]|null} outputs
   * @param {number[]} spared places of those that the page was not shown
   * @returns {boolean} whether all could be kept
   */
  showed(fn, outputs, spared) {
    const ids = this.#dependency(fn)?.outputs ?? [];
    for (const id of ids) this.#shownMs.set(id, this.now());
    return this.memory.showOutputs(ids, outputs ?? [], (id, place) => this.#seen.has(id) && !spared.includes(place));
  }

  /**
   * Outputs of a function that is called because the page was loaded, and to which somebody had given another value before:
   * that one stays.
   * @param {number} fn
   * @returns {number[]} their places; none the second time
   */
  spare(fn) {
    const dependency = this.config && isLoad(this.config, fn) ? this.#dependency(fn) : undefined;
    if (!dependency || this.#loaded.has(fn)) return [];
    this.#loaded.add(fn);
    return dependency.outputs.flatMap((id, place) => (this.#given.has(id) ? [place] : []));
  }

  // A value that no output has shown is somebody's own.
  /** @param {number} fn @param {any[]} data */
  #send(fn, data) {
    const ids = this.#dependency(fn)?.inputs ?? [];
    ids.forEach((id, place) => {
      if (place < data.length && this.#told.has(id)) this.memory.give(String(id), data[place], this.#built.get(id));
    });
  }

  /**
   * @param {number} id of a component
   * @returns {boolean} whether its value may just be changed by an output
   */
  isWritten(id) {
    if (this.now() - (this.#shownMs.get(id) ?? -Infinity) < SHOWN_MS) return true;
    return this.memory.events.some(({ state, fn }) => state !== 'done' && this.#dependency(fn)?.outputs.includes(id));
  }

  /**
   * Somebody has typed, or chosen.
   * @param {number} id of the component
   * @param {any} value undefined: one that can't be kept, and so the one before it would not be what was there
   */
  typed(id, value) {
    if (!this.#seen.has(id)) return;
    const built = this.#built.get(id);
    if (value === undefined) this.memory.lose(String(id));
    else if (this.memory.knows(String(id)) || jsonOf(value) !== built) this.memory.give(String(id), value, built);
  }

  /**
   * Nothing comes of what a double stands for.
   * @param {number} root
   * @param {Begun} begun
   */
  giveUp(root, begun) {
    this.doubles?.giveUp(root);
    this.memory.drop(begun);
  }

  /** @param {number} fn */
  #dependency(fn) {
    return this.config?.dependencies.find(({ id }) => id === fn);
  }
}

/** @param {any} value @returns {string} */
const jsonOf = (value) => JSON.stringify(value ?? null);

/** @param {any[]} data @returns {string} tells what was sent from what else was */
function sumOf(data) {
  const text = JSON.stringify(data);
  let hash = 5381;
  for (let at = 0; at < text.length; at += 1) hash = (Math.imul(hash, 33) ^ text.charCodeAt(at)) >>> 0;
  return `${text.length}.${hash.toString(36)}`;
}
