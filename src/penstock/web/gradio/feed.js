// Gradio's stream of a session, as its page reads it, made from subscriptions to the session's runs. It costs no connection
// and stays open for as long as the page does: nothing can be lost between its end and the next.

import { isInterrupted, Speaker } from './messages.js';

/**
 * @typedef {object} Entry an event that has not ended
 * @property {string} id
 * @property {any} about what its owner knows it by
 * @property {boolean} folded whether it began before this page: its state first, then what follows
 * @property {{heard: number, hasBase: boolean}} told what the page has heard of it: where the next speaker goes on
 * @property {boolean} based whether what is generated comes as changes from now on
 * @property {boolean} completed whether the page has been told its end
 * @property {any[]|null} outputs the latest
 * @property {number[]} spared places of outputs that the page is not shown
 * @property {import('../client/subscription.js').Subscription|null} subscription null while nobody reads
 *
 * @typedef {object} Listener
 * @property {(entry: Entry, failed: boolean) => void} ended the page has been told an event's end
 * @property {(entry: Entry, error: Error) => boolean} refused it can't be read; true: it is taken care of
 * @property {(entry: Entry) => boolean} goesOn whether what comes after an event comes however it ends
 * @property {() => void} connections how they are has changed
 * @property {() => boolean} leaving whether the page is just being asked whether it may be left
 */

const HEADERS = { 'Content-Type': 'text/event-stream' };
const encoder = new TextEncoder();

/** One session's stream. */
export class Feed {
  /** @type {Map<string, Entry>} */ entries = new Map();
  /** @type {ReadableStreamDefaultController|null} */ #body = null;
  /** @type {(() => Promise<Response>)|null} how Gradio's own is asked for */ #ask = null;
  #through = false;
  #wanted = false;
  /** @type {object[]} said before anybody listened */ #unsaid = [];

  /**
   * @param {import('../client/index.js').Client} client
   * @param {Listener} listener
   */
  constructor(client, listener) {
    this.client = client;
    this.listener = listener;
  }

  /**
   * What Gradio's page gets for its stream.
   * @param {() => Promise<Response>} ask for Gradio's own
   * @param {AbortSignal|null} [signal]
   * @returns {Response}
   */
  answer(ask, signal) {
    this.#ask = ask;
    this.#close();
    /** @type {ReadableStream} */
    const body = new ReadableStream({
      start: (controller) => {
        this.#body = controller;
      },
      cancel: () => this.#left(body),
    });
    this.#bodyOf = body;
    // A page that is asked whether it may be left ends its stream, and does not open it again when it stays.
    signal?.addEventListener('abort', () => this.listener.leaving() || (this.#bodyOf === body && this.#close()));
    for (const message of this.#unsaid.splice(0)) this.say(message);
    for (const entry of this.entries.values()) this.#read(entry);
    if (this.#wanted) this.#readThrough();
    return new Response(body, { headers: HEADERS });
  }

  /** @type {ReadableStream|null} */ #bodyOf = null;

  /** whether anybody listens */
  get open() {
    return this.#body !== null;
  }

  #close() {
    const controller = this.#body;
    this.#leave();
    controller?.close();
  }

  /** @param {ReadableStream} body */
  #left(body) {
    if (this.#bodyOf === body) this.#leave();
  }

  // Without a reader nothing is read: what comes waits in the store.
  #leave() {
    this.#body = this.#bodyOf = null;
    for (const entry of this.entries.values()) {
      entry.subscription?.close();
      entry.subscription = null;
    }
  }

  /**
   * Read an event to its end.
   * @param {string} id
   * @param {any} about
   * @param {{folded?: boolean, spared?: number[]}} options
   */
  add(id, about, { folded = false, spared = [] }) {
    /** @type {Entry} */
    const entry = {
      id,
      about,
      folded,
      told: { heard: 0, hasBase: false },
      completed: false,
      outputs: null,
      spared,
      based: false,
      subscription: null,
    };
    this.entries.get(id)?.subscription?.close();
    this.entries.set(id, entry);
    if (this.#body) this.#read(entry);
  }

  /** An event that the server does not record: its messages come by Gradio's own stream. */
  passThrough() {
    this.#wanted = true;
    if (this.#body) this.#readThrough();
  }

  /**
   * Say that an event is over, with nothing to show for it.
   * @param {string} id
   */
  complete(id) {
    this.say(completed(id, []));
  }

  /** @param {object} message */
  say(message) {
    if (this.#body) this.#body.enqueue(encoder.encode(`data: ${JSON.stringify(message)}\n\n`));
    else this.#unsaid.push(message);
  }

  /** @param {Entry} entry */
  #read(entry) {
    const speaker = new Speaker(entry.id, entry.told);
    const subscription = this.client.subscribe(entry.id, {
      rate: 0,
      folded: entry.folded || entry.told.heard > 0,
      onEvent: (event) => this.#take(entry, speaker, event),
      onStatus: (status) => speaker.status(status).forEach((message) => this.say(message)),
      onConnection: () => this.#connection(entry),
    });
    entry.subscription = subscription;
  }

  /** @param {Entry} entry @param {Speaker} speaker @param {any} event */
  #take(entry, speaker, event) {
    for (const message of speaker.say(event)) this.#tell(entry, message);
    entry.told = { heard: speaker.heard, hasBase: speaker.hasBase };
    if (event.type === 'end') this.entries.delete(entry.id);
  }

  /** @param {Entry} entry @param {any} message */
  #tell(entry, message) {
    if (entry.completed) return;
    if (isInterrupted(message) && this.listener.goesOn(entry)) message = this.#warned(entry, message.output);
    this.say(entry.spared.length ? sparing(entry, message) : message);
    if (message.msg !== 'process_completed') return;
    entry.completed = true;
    entry.outputs = lastOutputs(entry.subscription?.fold) ?? message.output?.data ?? null;
    this.listener.ended(entry, !message.success);
  }

  // As an error it would cover what had come, and Gradio would not call what unlocks a chat's text box (from 6.0 on).
  /** @param {Entry} entry @param {any} output of the end @returns {object} the end without the error, which is a warning now */
  #warned({ id, subscription }, { error, ...how }) {
    this.say({ ...how, msg: 'log', event_id: id, log: error, level: 'warning' });
    return completed(id, lastOutputs(subscription?.fold) ?? []);
  }

  /** @param {Entry} entry */
  #connection(entry) {
    this.listener.connections();
    const { error, connection } = entry.subscription ?? {};
    if (connection !== 'stopped' || !error || this.entries.get(entry.id) !== entry) return;
    this.entries.delete(entry.id);
    if (!entry.completed && !this.listener.refused(entry, error)) this.#fail(entry, error);
  }

  /** @param {Entry} entry @param {Error} error */
  #fail(entry, error) {
    this.say({
      msg: 'process_completed',
      event_id: entry.id,
      output: { error: error.message },
      success: false,
      title: 'Error',
    });
    this.listener.ended(entry, true);
  }

  // Gradio's own stream is one for all its events, and is asked for by the first of them.
  async #readThrough() {
    if (this.#through || !this.#ask) return;
    const body = this.#bodyOf;
    this.#through = true;
    this.#wanted = false;
    try {
      await pass(
        await this.#ask(),
        (data) => this.#bodyOf === body && this.#body?.enqueue(encoder.encode(`data: ${data}\n\n`)),
      );
    } catch (error) {
      if (this.#bodyOf === body) this.#body?.error(error);
    }
    this.#through = false;
    if (this.#wanted) this.#readThrough();
  }
}

/** @param {string} id @param {any[]} data @returns {object} an event's end, as Gradio says it */
function completed(id, data) {
  const nothing = { duration: 0, average_duration: 0, render_config: null, changed_state_ids: [] };
  const output = { data, is_generating: false, ...nothing };
  return { msg: 'process_completed', event_id: id, output, success: true, title: null };
}

/** @param {import('../client/fold.js').Fold|undefined} fold @returns {any[]|null} the outputs that a run's last value has */
function lastOutputs(fold) {
  const value = fold?.replacedOf('')?.value;
  return Array.isArray(value?.output?.data) ? value.output.data : null;
}

/**
 * @param {Response} response of Gradio's own stream
 * @param {(data: string) => void} tell
 * @throws where it is cut: what follows is lost, as without us
 */
async function pass(response, tell) {
  if (!response.ok || !response.body) throw new TypeError(`The stream was refused with ${response.status}.`);
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  for (let chunk; !(chunk = await reader.read()).done;) {
    const frames = (rest + decoder.decode(chunk.value, { stream: true })).split('\n\n');
    rest = /** @type {string} */ (frames.pop());
    for (const frame of frames) {
      const data = frame.replace(/^data: ?/, '');
      if (JSON.parse(data).msg === 'close_stream') return reader.cancel().catch(() => {});
      tell(data);
    }
  }
  throw new TypeError('The stream ended before its events.');
}

/** @type {object} of Gradio's: nothing about an output changes */
const NOTHING = { __type__: 'update' };

/** @param {any[]} data @param {number[]} places @param {any} [instead] @returns {any[]} */
export const without = (data, places, instead = NOTHING) =>
  data.map((value, place) => (places.includes(place) ? instead : value));

/** @param {Entry} entry @param {any} message */
function sparing(entry, message) {
  if (!Array.isArray(message.output?.data)) return message;
  const isChange = message.msg === 'process_generating' && entry.based;
  entry.based ||= message.msg === 'process_generating';
  const data = without(message.output.data, entry.spared, isChange ? [] : NOTHING);
  return { ...message, output: { ...message.output, data } };
}
