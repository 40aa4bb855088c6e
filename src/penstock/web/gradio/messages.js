// A run's log as Gradio's messages, for one page and one event. No DOM, no network, no clock.
// integrations/gradio/messages/speaker.py has the same rules; messages.py beside it says what is recorded.

import { applyDelta } from '../client/delta.js';
import { editsOf } from './diffs.js';

/** @typedef {Record<string, any>} Message */
/** @typedef {Record<string, any>} Value the last message, with its data whole */

/** What a user reads of a run that was lost in a restart. */
export const INTERRUPTED =
  'The server was restarted while this was running. What had come until then is kept; run it again.';

/**
 * Says one event to one reader: `process_starts` once and first, and `process_completed` once and last.
 *
 * It is given the log from its beginning, or a fold of it, and says what the reader does not have. Between two events
 * it holds the last value only; nothing after the end.
 */
export class Speaker {
  #eventId;
  #until; // heard by the reader before
  /** Everything up to this seq was said, but for a `process_completed` that waits for the end of its run. */
  heard;
  /** Whether the reader has data against which the next are said. */
  hasBase;
  #hasStarted;
  #hasEnded = false;
  #position = 0;
  /** @type {Value|null} */ #value = null;
  /** @type {Record<string, number>} */ #told = {};
  #toldRenders = 0;
  /** @type {string[]} */ #parts = []; // of a large value that is not complete yet
  /** @type {number|null} */ #unsaid = null; // before this the reader has everything; null: now, too

  /**
   * @param {string} eventId as Gradio calls it
   * @param {{heard?: number, hasBase?: boolean}} reader `heard` and `hasBase` of the speaker that the
   *   reader had before: what it has is listened to, and not said again
   */
  constructor(eventId, { heard = 0, hasBase = false } = {}) {
    this.#eventId = eventId;
    this.#until = this.heard = heard;
    this.hasBase = hasBase;
    this.#hasStarted = heard > 0 || hasBase;
  }

  /**
   * Where the run stands: status, not history.
   * @param {any} status as the browser client has it: its place in line is 1 for the next
   * @returns {Message[]}
   */
  status({ state, position = null, eta_s: eta = null, queue_size: size = 0 }) {
    if (state === 'running') return this.starts();
    if (state !== 'queued' || this.#hasStarted || this.#hasEnded) return [];
    const rank = position === null ? null : position - 1;
    return [this.#said({ msg: 'estimation', rank, queue_size: Math.max(size, position ?? 0), rank_eta: eta })];
  }

  /**
   * It runs. Said by itself before what a run says first; nothing the second time.
   * @param {number|null} [eta] seconds
   * @returns {Message[]}
   */
  starts(eta = null) {
    if (this.#hasStarted || this.#hasEnded) return [];
    this.#hasStarted = true;
    return [this.#said({ msg: 'process_starts', eta })];
  }

  /**
   * The messages of one event, or of a fold, in order; none for what was said before.
   * @param {any} event as it came, in one piece
   * @returns {Message[]}
   * @throws {RangeError} for a delta without the value that it was made against; nothing has changed then
   */
  say(event) {
    const { type, seq = 0 } = event;
    if (type === 'fold') {
      const messages = event.events.flatMap((/** @type {any} */ one) => this.say(one));
      this.#stand(Math.max(this.#position, seq));
      return messages;
    }
    if (type === 'reset' && seq === 0) {
      // about a cursor: another log, or what it was before
      this.#withdraw();
      this.#position = this.#until = this.heard = event.to;
    } else if (seq > this.#position) {
      const messages = this.#messages(event);
      this.#stand(seq);
      return messages;
    }
    return [];
  }

  /** @param {number} seq */
  #stand(seq) {
    this.#position = seq;
    this.heard = Math.max(this.heard, this.#unsaid ?? seq);
  }

  /** @param {any} event @returns {Message[]} */
  #messages(event) {
    if (event.type === 'replace') return this.#replaced(event);
    if (event.type === 'reset') this.#withdraw();
    const said = plain(event);
    if (said?.penstock === 'part') return this.#part(event, said);
    if (event.seq <= this.#until) return [];
    if (event.type === 'end') return this.#end(event);
    return said ? [...this.starts(), this.#said(said)] : [];
  }

  // The reader keeps what it was shown until other data come, which a run that begins again says whole.
  #withdraw() {
    this.#value = this.#unsaid = null;
    this.#parts = [];
    this.#told = {};
    this.#toldRenders = 0;
  }

  /** @param {Message} message @returns {Message} */
  #said(message) {
    return { ...message, event_id: this.#eventId };
  }

  // Of a value that is too large for one event.
  /** @param {any} event @param {Message} part @returns {Message[]} */
  #part({ seq, n = 1 }, { part, parts, text }) {
    if (part === 0) {
      this.#parts = [];
      this.#unsaid = seq - n;
    }
    this.#parts.push(text);
    if (part + 1 < parts) return [];
    const [begin, value] = [this.#unsaid ?? 0, JSON.parse(this.#parts.join(''))];
    this.#parts = [];
    this.#unsaid = null;
    return this.#replaced({ seq, n: seq - begin, value });
  }

  /** @param {any} event @returns {Message[]} */
  #replaced({ seq, n = 1, value: whole, delta }) {
    const [before, begin] = [this.#value, seq - n];
    const value = this.#valueOf(whole, delta, begin);
    if (!value) return []; // not one of Gradio's
    this.#value = value;
    if (seq <= this.#until) {
      this.#note(value);
      return [];
    }
    const isMerged = seq - Math.max(begin, this.#until, this.#position) > 1;
    const fits = before && begin >= this.#until;
    const messages = this.#values({ before, value, delta: fits ? delta : undefined }, isMerged);
    if (value.msg === 'process_completed') this.#unsaid = messages.length ? seq - 1 : begin;
    return messages.length ? [...this.starts(), ...messages] : [];
  }

  /** @param {any} whole @param {any} delta @param {number} begin @returns {Value|null} */
  #valueOf(whole, delta, begin) {
    if (delta !== undefined) {
      if (!this.#value || begin < this.#position) throw new RangeError('The value before a delta has not come.');
      whole = applyDelta(this.#value, delta);
    }
    return isObject(whole) && isObject(whole.output) ? whole : null;
  }

  /** @param {Changes} changes @param {boolean} isMerged @returns {Message[]} */
  #values({ before, value, delta }, isMerged) {
    const more = value.penstock ?? {};
    const effects = isMerged ? more.effects : undefined;
    let small = value;
    if (value.msg === 'process_completed') {
      // that itself is said at the end, when it stands
      if (!isMerged || !more.before || !(more.bare || effects)) return [];
      small = more.before;
    }
    if (!effects) return [this.#data(small, { before, value, delta })];
    const affected = { ...value, output: withEffects(value.output, effects) };
    return [
      this.#data(small, { before, value: affected }),
      this.#data(small, { before: affected, value, only: effects }),
    ];
  }

  /** @param {Value} small @param {Changes} changes @returns {Message} */
  #data(small, changes) {
    const { data: _, ...output } = small.output;
    const whole = changes.value.output.data;
    if (Array.isArray(whole)) {
      const isGenerating = small.msg === 'process_generating';
      output.data = isGenerating && this.hasBase ? diffs(changes) : whole;
      this.hasBase ||= isGenerating;
    }
    return this.#withStates(small, output, changes.value);
  }

  /** @param {Value} small @param {any} output @param {Value} value @returns {Message} */
  #withStates({ penstock: _, ...small }, output, value) {
    const { states = {}, render } = value.penstock ?? {};
    const untold = Object.keys(states).filter((id) => states[id] > (this.#told[id] ?? 0));
    if (untold.length) output.changed_state_ids = inOrder(untold);
    if (render && render.count > this.#toldRenders) output.render_config = render.config;
    this.#note(value);
    return this.#said({ ...small, output });
  }

  /** @param {Value} value */
  #note({ penstock: { states = {}, render = { count: 0 } } = {} }) {
    this.#told = states;
    this.#toldRenders = render.count;
  }

  /** @param {any} end @returns {Message[]} */
  #end(end) {
    const value = this.#value;
    this.#value = this.#unsaid = null;
    if (value?.msg !== 'process_completed') {
      this.#hasEnded = true;
      return [this.#said(made(end))];
    }
    const starts = this.starts();
    this.#hasEnded = true;
    const { data, ...output } = value.output;
    const isBare = value.penstock?.bare || data === undefined;
    return [...starts, this.#withStates(value, isBare ? output : { ...output, data }, value)];
  }
}

/**
 * From the value that the reader has to another one. `delta` is what makes the one of the other; without it each
 * output comes whole, or only those of `only`, the others being the same.
 * @typedef {{before: Value|null, value: Value, delta?: any[], only?: Record<string, any>}} Changes
 */

/** @param {Changes} changes @returns {any[][]} a diff of each output */
function diffs({ before, value, delta, only }) {
  const data = value.output.data;
  const had = before?.output.data;
  const rows = delta && Array.isArray(had) && had.length === data.length ? rowsOf(delta, data.length) : null;
  if (rows) return rows.map((row, i) => editsOf(had[i], row));
  return data.map((/** @type {any} */ whole, /** @type {number} */ i) =>
    only && !Object.hasOwn(only, i) ? [] : [['replace', [], whole]],
  );
}

/** @param {any[]} delta @param {number} count @returns {any[][] | null} its operations by output; null where there are others */
function rowsOf(delta, count) {
  /** @type {any[][]} */ const rows = Array.from({ length: count }, () => []);
  for (const [op, path, given] of delta) {
    const [first, second, place, ...rest] = path;
    if (path.length === 0 || (first === 'output' && path.length === 1)) return null;
    if (first !== 'output' || second !== 'data') continue;
    if (!Number.isInteger(place) || (!rest.length && (op === 'insert' || op === 'remove'))) return null;
    rows[place].push([op, rest, given]);
  }
  return rows;
}

/** @param {any} output @param {Record<string, any>} effects */
function withEffects(output, effects) {
  const data = [...output.data];
  for (const [place, left] of Object.entries(effects)) {
    const now = data[Number(place)];
    const update = isObject(now) && now.__type__ === 'update' ? now : { value: now };
    data[Number(place)] = { __type__: 'update', ...left, ...update };
  }
  return { ...output, data };
}

/** @param {any} event @returns {Message|null} what stands by itself; null for what is not of Gradio */
function plain({ type, value, message, level = 'info', fields }) {
  if (type === 'json') return isObject(value) && ('msg' in value || 'penstock' in value) ? value : null;
  if (type === 'log') return { msg: 'log', log: message, level, ...fields };
  return type === 'progress' ? { msg: 'progress', progress_data: [], ...fields } : null;
}

/** @param {any} end @returns {Message} of a run of which Gradio never said that it was over */
function made({ state, error }) {
  const done = { msg: 'process_completed', success: true, title: null };
  if (state === 'cancelled') return { ...done, output: {} };
  if (state === 'succeeded') return { ...done, output: { data: [] } };
  const isLost = state === 'interrupted';
  const title = isLost ? 'Interrupted' : 'Error';
  const text = isLost ? INTERRUPTED : (error?.message ?? null);
  return { ...done, output: { error: text, duration: null, visible: true, title }, success: false, title };
}

/** @param {string[]} ids @returns {(string|number)[]} */
function inOrder(ids) {
  const numbers = ids.filter((id) => /^\d+$/.test(id)).map(Number);
  return [...numbers.sort((a, b) => a - b), ...ids.filter((id) => !/^\d+$/.test(id)).sort()];
}

/** @param {any} value @returns {boolean} */
const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
