// One run that is looked at: its subscription, its record, and what is asked of it.

import { client, sentence } from '../server.js';
import { receiptOf } from './head.js';
import { RunModel } from './model.js';
import { Stored } from './stored.js';
import { isLive } from './words.js';

const RECORD_MS = 5_000; // between two looks at how much is stored of a run that goes on
/** Answers of about 256 KiB that are looked through for resets: those of a longer run's end are with its events. */
const MOST_LOOKED = 40;
const GONE = [401, 403, 404]; // asking again will not help

/** @typedef {import('../../client/subscription.js').Changed} Changed */

/** A run, from when it is opened until it is left. */
export class Session {
  /** @type {Changed|null} since the last time the model took it */ #changed = null;
  /** @type {import('../../client/fold.js').Fold|null} */ #fold = null;
  #upTo = 0;
  #askedMs = 0;
  #asking = false;
  #looked = false;

  /** @param {string} id @param {() => void} change something is to be drawn */
  constructor(id, change) {
    this.id = id;
    this.change = change;
    this.model = new RunModel(id);
    this.stored = new Stored((path) => client.call(path), id);
    this.subscription = client.subscribe(id, {
      onState: (fold, changed) => this.#state(fold, changed),
      onStatus: (status) => this.#status(status),
      onConnection: () => this.#connection(),
    });
    this.loadRecord();
  }

  close() {
    this.subscription.close();
    this.change = () => {};
  }

  /** @param {import('../../client/fold.js').Fold} fold @param {Changed} changed */
  #state(fold, changed) {
    const before = this.#changed;
    this.#changed = before && !changed.all ? merged(before, changed) : changed;
    this.#fold = fold;
    this.#upTo = fold.position;
    if (fold.end && isLive(this.model.record?.state ?? 'running')) this.loadRecord();
    else if (this.model.status.state === 'queued') this.#started();
    this.change();
  }

  // Events come only of a run that has started, though no status may have said so.
  #started() {
    this.model.status = { ...this.model.status, state: 'running' };
    this.loadRecord();
  }

  /** @param {any} status */
  #status(status) {
    const started = status.state === 'running' && this.model.status.state === 'queued';
    this.model.status = status;
    this.model.receipt = receiptOf(status.cancel) ?? this.model.receipt; // somebody may have stopped it elsewhere
    if (started) this.loadRecord();
    this.change();
  }

  #connection() {
    const { error } = this.subscription;
    if (error) this.model.notices = [sentence(error)];
    this.change();
  }

  /** Have the model take what has come. @returns {boolean} whether anything had */
  take() {
    if (!this.#changed || !this.#fold) return false;
    const { position } = this.model.fold;
    if (this.#fold !== this.model.fold && position > 0) {
      this.model.notices = [`Events after ${position} were missing. This run was read again from its start.`];
    }
    this.model.update(this.#fold, this.#changed, this.#upTo);
    this.#changed = null;
    return true;
  }

  async loadRecord() {
    if (this.#asking) return;
    this.#asking = true;
    this.#askedMs = Date.now();
    try {
      const record = await client.call(`api/runs/${encodeURIComponent(this.id)}`);
      if (!record.run_id) throw new Error('What answered is not the server.'); // a login page
      this.model.record = record;
      if (isLive(this.model.record.state) && !this.#fold?.position) this.model.status = this.model.record;
    } catch (error) {
      if (GONE.includes(/** @type {any} */ (error).status)) this.#gone(error);
    }
    this.#asking = false;
    if (this.model.attempt > 1) this.#findResets().catch(() => (this.#looked = false));
    this.change();
  }

  // Who comes late gets the state as it is: that something was withdrawn on the way is only in the store.
  async #findResets() {
    if (this.#looked || !this.model.over) return;
    this.#looked = true;
    const found = [];
    let answers = 0;
    for await (const events of this.stored.pages()) {
      for (const { type, seq, to, reason = '', at_ms: atMs } of events) {
        if (type === 'reset') found.push({ seq, to, atMs, message: reason, units: 0 });
      }
      if ((answers += 1) === MOST_LOOKED) break;
    }
    this.model.recall(found);
    this.change();
  }

  /** @param {any} error */
  #gone(error) {
    this.model.notices = [sentence(error)];
    this.subscription.close();
  }

  /** Look now and then how much is stored: that all of it was received is to be seen while it comes, too. */
  tick() {
    const recordIsLate = this.model.fold.end && isLive(this.model.record?.state ?? 'running');
    if ((isLive(this.model.state) || recordIsLate) && Date.now() - this.#askedMs > RECORD_MS) this.loadRecord();
  }

  /** What the proof line says. */
  get facts() {
    const { fold, record } = this.model;
    const { resumes, duplicates, lagMs, transport, shared } = this.subscription;
    const ended = fold.end !== null;
    // Of a run that has ended only what was asked for since then says how much there is.
    const stored = ended && isLive(record?.state ?? 'running') ? null : record?.stored;
    return { received: fold.position, stored, ended, resumes, duplicates, lagMs, transport, shared };
  }

  async stop() {
    try {
      const { cancel } = await client.cancel(this.id);
      this.model.receipt = receiptOf(cancel ?? '') ?? cancel ?? '';
    } catch (error) {
      this.model.receipt = `Not stopped: ${sentence(error)}`;
    }
    this.change();
  }

  /** Start another run with the same input. @returns {Promise<string>} its id, or '' */
  async again() {
    const { record } = this.model;
    try {
      const { session } = record;
      const { run_id: id } = await client.submit(record.function, record.input, session ? { session } : {});
      return id;
    } catch (error) {
      this.model.receipt = `Not started: ${sentence(error)}`;
      this.change();
      return '';
    }
  }
}

/** @param {Changed} one @param {Changed} other @returns {Changed} */
function merged(one, other) {
  for (const id of other.texts) one.texts.add(id);
  for (const id of other.steps) one.steps.add(id);
  for (const kind of other.kinds) one.kinds.add(kind);
  return { ...one, all: one.all || other.all };
}
