// Where a reader stands in a stream, and what an event means to who stands there. Pure.

/** @param {string} epoch @param {number} seq @returns {string} */
export const cursorOf = (epoch, seq) => `${epoch}-${seq}`;

/** @param {unknown} text @returns {text is string} whether the server would take it for a cursor */
export const isCursor = (text) => typeof text === 'string' && /^[A-Za-z0-9]{8,32}-[0-9]{1,15}$/.test(text);

/** @param {string} cursor '' is none @returns {{epoch: string, seq: number}} */
export function placeOf(cursor) {
  const cut = cursor.lastIndexOf('-');
  return { epoch: cursor.slice(0, Math.max(cut, 0)), seq: Number(cursor.slice(cut + 1)) || 0 };
}

/**
 * What a whole event means to a reader that has everything up to `position`.
 * @param {any} event
 * @param {number} position
 * @returns {'next'|'duplicate'|'gap'|'overlap'} `overlap`: a delta against a value that this reader is beyond
 */
export function verdictOn({ type, seq = 0, n = 1, delta }, position) {
  if (type === 'fold') return position === 0 ? 'next' : seq <= position ? 'duplicate' : 'gap';
  if (seq === 0) return 'next'; // a reset about the cursor is not itself in the stream
  if (seq <= position) return 'duplicate';
  if (seq - n > position) return 'gap';
  return seq - n < position && type === 'replace' && delta !== undefined ? 'overlap' : 'next';
}

/**
 * Whether it was merged with what a reader at `position` has: its cursor comes from another connection.
 * @param {any} event
 * @param {number} position
 */
export const beginsBefore = ({ seq = 0, n = 1, type }, position) =>
  type !== 'fold' && seq > position && seq - n < position;

/** @param {any} event that was `next` @returns {number} the position after it */
export const positionAfter = ({ type, seq = 0, to = 0 }) => (type === 'reset' && seq === 0 ? to : seq);

/** @param {any} event as it came @returns {boolean} whether nothing follows it: it is the `end`, or holds it */
export function isLast(event) {
  return (event.type === 'fold' ? event.events.at(-1)?.type : event.type) === 'end';
}
