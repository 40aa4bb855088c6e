// What differs between two rows of things: the shortest way from one to the other (Myers), within a bound. No DOM.

/** Additions and removals looked for. The work grows with their square: beyond, the rest counts as all different. */
export const MOST_EDITS = 1_000;
/** Words compared within lines that differ. */
const MOST_WORDS = 4_000;

/**
 * @template T
 * @typedef {{kind: 'same'|'removed'|'added', a: T[], b: T[]}} Part `a` for what is in the first, `b` in the second
 */

/**
 * @template T
 * @param {T[]} a @param {T[]} b
 * @param {(one: T, other: T) => boolean} [same]
 * @returns {Part<T>[]} in order; parts of the same kind don't follow each other
 */
export function diff(a, b, same = Object.is) {
  let start = 0;
  while (start < a.length && start < b.length && same(a[start], b[start])) start += 1;
  let end = 0;
  while (end < Math.min(a.length, b.length) - start && same(a[a.length - 1 - end], b[b.length - 1 - end])) end += 1;
  /** @type {Part<T>[]} */ const parts = [];
  add(parts, 'same', a.slice(0, start), b.slice(0, start));
  for (const part of middle(a.slice(start, a.length - end), b.slice(start, b.length - end), same))
    add(parts, part.kind, part.a, part.b);
  add(parts, 'same', a.slice(a.length - end), b.slice(b.length - end));
  return parts;
}

/** @template T @param {Part<T>[]} parts @param {Part<T>['kind']} kind @param {T[]} a @param {T[]} b */
function add(parts, kind, a, b) {
  if (!a.length && !b.length) return;
  const last = parts.at(-1);
  if (last?.kind === kind) {
    for (const item of a) last.a.push(item);
    for (const item of b) last.b.push(item);
  } else parts.push({ kind, a: [...a], b: [...b] });
}

/** @template T @param {T[]} a @param {T[]} b @param {(one: T, other: T) => boolean} same @returns {Part<T>[]} */
function middle(a, b, same) {
  const trace = walk(a, b, same);
  if (!trace)
    return [
      { kind: 'removed', a, b: [] },
      { kind: 'added', a: [], b },
    ];
  /** @type {Part<T>[]} */ const parts = [];
  let x = a.length;
  let y = b.length;
  for (let edits = trace.length - 1; edits >= 0; edits -= 1) {
    const reach = trace[edits];
    const k = x - y;
    const down = k === -edits || (k !== edits && reach(k - 1) < reach(k + 1));
    const fromX = edits === 0 ? 0 : down ? reach(k + 1) : reach(k - 1) + 1; // where the diagonal begins
    for (; x > fromX; x -= 1, y -= 1) parts.push({ kind: 'same', a: [a[x - 1]], b: [b[y - 1]] });
    if (edits === 0) break;
    if (down) parts.push({ kind: 'added', a: [], b: [b[(y -= 1)]] });
    else parts.push({ kind: 'removed', a: [a[(x -= 1)]], b: [] });
  }
  return parts.reverse();
}

// For each number of edits how far each diagonal had got before it; null where that is too many.
/** @template T @param {T[]} a @param {T[]} b @param {(one: T, other: T) => boolean} same */
function walk(a, b, same) {
  /** @type {((k: number) => number)[]} */ const trace = [];
  const most = Math.min(a.length + b.length, MOST_EDITS);
  const reached = new Int32Array(2 * most + 3);
  for (let edits = 0; edits <= most; edits += 1) {
    const before = reached.slice(most - edits, most + edits + 3);
    const first = edits;
    trace.push((k) => before[k + 1 + first]);
    for (let k = -edits; k <= edits; k += 2) {
      const down = k === -edits || (k !== edits && reached[k + most] < reached[k + most + 2]);
      let x = down ? reached[k + most + 2] : reached[k + most] + 1;
      if (edits === 0) x = 0;
      while (x < a.length && x - k < b.length && same(a[x], b[x - k])) x += 1;
      reached[k + most + 1] = x;
      if (x >= a.length && x - k >= b.length) return trace;
    }
  }
  return null;
}

/**
 * Two texts, by lines; where lines differ, by words.
 * @param {string} one @param {string} other
 * @returns {{kind: 'same'|'removed'|'added', text: string}[]}
 */
export function diffTexts(one, other) {
  /** @type {{kind: 'same'|'removed'|'added', text: string}[]} */ const found = [];
  const parts = diff(lines(one), lines(other));
  for (let index = 0; index < parts.length; index += 1) {
    const { kind, a, b } = parts[index];
    const next = parts[index + 1];
    if (kind === 'same') found.push({ kind, text: a.join('') });
    else if (next && next.kind !== 'same') {
      const [removed, added] = kind === 'removed' ? [a, next.b] : [next.a, b];
      found.push(...byWords(removed.join(''), added.join('')));
      index += 1;
    } else found.push({ kind, text: (kind === 'removed' ? a : b).join('') });
  }
  return found;
}

/** @param {string} text @returns {string[]} */
const lines = (text) => text.match(/[^\n]*\n|[^\n]+/g) ?? [];

/** @param {string} removed @param {string} added @returns {{kind: 'same'|'removed'|'added', text: string}[]} */
function byWords(removed, added) {
  const [a, b] = [removed, added].map((text) => text.match(/\s+|[\p{L}\p{N}]+|[^\s\p{L}\p{N}]/gu) ?? []);
  if (a.length > MOST_WORDS || b.length > MOST_WORDS) {
    return [
      { kind: 'removed', text: removed },
      { kind: 'added', text: added },
    ];
  }
  return diff(a, b).map((part) => ({ kind: part.kind, text: (part.kind === 'added' ? part.b : part.a).join('') }));
}
