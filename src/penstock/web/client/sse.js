// Server-sent events: chunks in, messages out. No network, no clock. The rules are those of the HTML standard,
// "Interpreting an event stream"; tests/vectors/sse.json has the cases that Python's decoder is tested with too.

/** UTF-16 units of one line, and of one message: the server's longest is near 100 KB, so this is no stream of ours. */
export const MAX_MESSAGE_UNITS = 1024 * 1024;

const MAX_RETRY_DIGITS = 9; // a wait of eleven days is a mistake

/**
 * @typedef {object} Message
 * @property {string} event its name, 'message' where it has none
 * @property {string} data
 * @property {string} id the last that was said
 */

/** One stream's parser. Feed it what arrives, however it was cut. */
export class Parser {
  /** the last `id:` of a message that is complete */ lastId = '';
  /** @type {number|null} the last `retry:` */ retryMs = /** */ null;
  #decoder = new TextDecoder();
  #rest = '';
  #searched = 0;
  #afterCr = false;
  #data = /** @type {string[]} */ ([]);
  #units = 0;
  #event = '';
  #id = '';

  /**
   * @param {(message: Message) => void} onMessage
   * @param {(text: string) => void} [onComment]
   */
  constructor(onMessage, onComment = () => {}) {
    this.onMessage = onMessage;
    this.onComment = onComment;
  }

  /**
   * @param {Uint8Array} chunk
   * @throws {RangeError} over MAX_MESSAGE_UNITS; the parser is of no use afterwards
   */
  feed(chunk) {
    const text = this.#decoder.decode(chunk, { stream: true });
    if (text === '') return;
    // A line that ended with CR has ended; the LF that may follow belongs to it.
    this.#rest += this.#afterCr && text[0] === '\n' ? text.slice(1) : text;
    this.#afterCr = false;
    this.#lines();
    check(this.#rest.length);
  }

  #lines() {
    const rest = this.#rest;
    let from = 0;
    for (let end; (end = lineEnd(rest, Math.max(from, this.#searched))) >= 0;) {
      this.#line(rest.slice(from, end));
      from = end + 1;
      if (rest[end] !== '\r') continue;
      if (rest[from] === '\n') from += 1;
      else this.#afterCr = from === rest.length;
    }
    this.#rest = rest.slice(from);
    this.#searched = this.#rest.length; // a long line that grows is not searched again from its start
  }

  /** @param {string} line */
  #line(line) {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    if (colon === 0) return this.onComment(line.slice(1));
    const name = colon < 0 ? line : line.slice(0, colon);
    const skip = line[colon + 1] === ' ' ? 2 : 1;
    FIELDS.get(name)?.(this, colon < 0 ? '' : line.slice(colon + skip));
  }

  #dispatch() {
    const event = this.#event;
    const data = this.#data;
    this.lastId = this.#id;
    this.#event = '';
    this.#data = [];
    this.#units = 0;
    if (data.length) this.onMessage({ event: event || 'message', data: data.join('\n'), id: this.lastId });
  }

  // What follows is for the table of fields below.

  /** @param {string} value */
  addData(value) {
    this.#units += value.length;
    check(this.#units);
    this.#data.push(value);
  }

  /** @param {string} value */
  setEvent(value) {
    this.#event = value;
  }

  /** @param {string} value */
  setId(value) {
    if (!value.includes('\0')) this.#id = value;
  }

  /** @param {string} value */
  setRetry(value) {
    if (/^[0-9]+$/.test(value) && value.length <= MAX_RETRY_DIGITS) this.retryMs = Number(value);
  }
}

/** @type {Map<string, (parser: Parser, value: string) => void>} */
const FIELDS = new Map([
  ['data', (parser, value) => parser.addData(value)],
  ['event', (parser, value) => parser.setEvent(value)],
  ['id', (parser, value) => parser.setId(value)],
  ['retry', (parser, value) => parser.setRetry(value)],
]);

const LINE_END = /[\r\n]/g;

/** @param {string} text @param {number} from @returns {number} where the line ends, or -1 */
function lineEnd(text, from) {
  LINE_END.lastIndex = from;
  return LINE_END.exec(text)?.index ?? -1;
}

/** @param {number} units */
function check(units) {
  if (units > MAX_MESSAGE_UNITS) throw new RangeError('A message is too long for an event stream of Penstock.');
}
