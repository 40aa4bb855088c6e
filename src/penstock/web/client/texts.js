// The texts of a run, one for each step and the run's own: pieces as they came, bounded over all of them. No DOM.

/** Text kept, in UTF-16 units over all texts of a run. Beyond it the oldest pieces go, some at a time. */
export const KEPT_TEXT = 4_000_000;

const TRIMMED = KEPT_TEXT * (7 / 8);
const JOINED_UNITS = 4_096; // neighbours are joined up to this: a piece costs more than its letters
const PIECE_UNITS = 32; // what a piece costs beside them, about

/** @typedef {{seq: number, text: string, end: number, units: number}} Piece `end` is where it ends in code points,
 *   `units` in UTF-16 units. */
/** @typedef {{pieces: Piece[], length: number|null, units: number, cut: null | {seq: number, end: number,
 *   units: number}}} Text `length` is in code points, `units` in UTF-16 units; `cut` is the last piece no longer kept. */

/** All texts of a run. */
export class Texts {
  /** @type {Map<string, Text>} by span id; '' is the run's own */ all = new Map();
  #units = 0;
  /** @type {Iterator<Text>|null} where the oldest are being let go */ #oldest = null;

  /**
   * @param {{seq: number, n?: number, span?: string, pos: number, text: string, edge?: boolean}} event
   * @returns {boolean} false if it begins beyond what has come
   */
  append({ seq, n = 1, span = '', pos, text, edge = false }) {
    let kept = this.all.get(span);
    if (!kept) this.all.set(span, (kept = { pieces: [], length: 0, units: 0, cut: null }));
    const have = kept.length ?? pos; // unknown after a reset into what was cut: then the event is believed
    if (pos > have) return false;
    const fresh = skipPoints(text, have - pos); // a merge made since may begin in what is here already
    kept.length = have + countPoints(fresh);
    kept.units += fresh.length;
    const last = kept.pieces.at(-1);
    if (last && !edge && last.seq === seq - n && last.text.length < JOINED_UNITS) {
      Object.assign(last, { seq, text: last.text + fresh, end: kept.length, units: kept.units });
    } else {
      kept.pieces.push({ seq, text: fresh, end: kept.length, units: kept.units });
      this.#units += PIECE_UNITS;
    }
    this.#units += fresh.length;
    if (this.#units > KEPT_TEXT) this.#trim(kept);
    return true;
  }

  /**
   * A step was let go, and its text with it.
   * @param {string} span
   */
  drop(span) {
    for (const piece of this.all.get(span)?.pieces ?? []) this.#units -= costOf(piece);
    this.all.delete(span);
  }

  /**
   * What came after an event was withdrawn.
   * @param {number} to its seq
   */
  withdraw(to) {
    for (const text of this.all.values()) this.#withdraw(text, to);
    this.#oldest = null;
  }

  /** @param {Text} text @param {number} to */
  #withdraw(text, to) {
    for (let last; (last = text.pieces.at(-1)) && last.seq > to; text.pieces.pop()) this.#units -= costOf(last);
    if (to === 0) text.cut = null;
    const last = text.pieces.at(-1) ?? text.cut ?? { seq: 0, end: 0, units: 0 };
    text.length = last.seq <= to ? last.end : null;
    text.units = last.units;
  }

  // The oldest texts first, then the growing one's own beginning. Where one ends another goes on the next time.
  /** @param {Text} growing */
  #trim(growing) {
    for (let rounds = 0; this.#units > TRIMMED && rounds < 2;) {
      const { value: text, done } = (this.#oldest ??= this.all.values()).next();
      if (done) {
        this.#oldest = null;
        rounds += 1;
      } else if (text !== growing) this.#cut(text, text.pieces.length);
    }
    this.#cut(growing, growing.pieces.length - 1);
  }

  /** @param {Text} text @param {number} most */
  #cut(text, most) {
    let count = 0;
    for (; count < most && this.#units > TRIMMED; count += 1) this.#units -= costOf(text.pieces[count]);
    const last = text.pieces.splice(0, count).at(-1);
    if (last) text.cut = { seq: last.seq, end: last.end, units: last.units };
  }
}

/** @param {Piece} piece */
const costOf = ({ text }) => text.length + PIECE_UNITS;

/**
 * A part of a text, as far as it is kept. Places are in UTF-16 units from the text's beginning.
 * @param {Text | undefined} text @param {number} from @param {number} [to] to its end
 * @returns {string}
 */
export function textBetween(text, from, to = Infinity) {
  if (!text || from >= Math.min(to, text.units)) return '';
  const parts = [];
  for (let index = text.pieces.length - 1; index >= 0; index -= 1) {
    const { text: piece, units } = text.pieces[index];
    if (units <= from) break;
    const begin = units - piece.length;
    if (begin < to) parts.push(piece.slice(Math.max(0, from - begin), Math.max(0, to - begin)));
  }
  return parts.reverse().join('');
}

/**
 * Length in code points. The wire counts those; JavaScript's `length` counts an emoji twice.
 * @param {string} text
 * @returns {number}
 */
export function countPoints(text) {
  let points = text.length;
  for (let at = 0; at < text.length - 1; at += 1) {
    if ((text.charCodeAt(at) & 0xfc00) === 0xd800 && (text.charCodeAt(at + 1) & 0xfc00) === 0xdc00) {
      points -= 1;
      at += 1;
    }
  }
  return points;
}

/** @param {string} text @param {number} points @returns {string} `text` without its first code points */
export function skipPoints(text, points) {
  let units = 0;
  for (; points > 0 && units < text.length; points -= 1) units += (text.codePointAt(units) ?? 0) > 0xffff ? 2 : 1;
  return text.slice(units);
}
