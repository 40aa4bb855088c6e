// Deltas of cumulative values, applied: docs/PROTOCOL.md says what each operation does. No DOM, no state.

/** @typedef {{whole: any[], own: Set<object>}} Top the value, in a list of its own, and what of it is our copy */
/** @typedef {(string | number | [number, number])[]} Path */
/** @typedef {any} Container an array or an object of JSON */

/** @type {Record<string, (top: Top, path: any[], value: any) => void>} */
const OPERATIONS = {
  append: (top, path, value) => splice(top, path, null, value),
  set(top, path, value) {
    const { container, key } = place(top, path);
    check(!Array.isArray(container) || key < container.length);
    put(container, key, value);
  },
  insert(top, path, value) {
    const index = path.at(-1);
    check(isIndex(index));
    splice(top, path.slice(0, -1), [index, index], value);
  },
  remove(top, path) {
    const last = path.at(-1);
    if (Array.isArray(last)) return splice(top, path.slice(0, -1), last, undefined);
    const { container, key } = place(top, path);
    check(path.length > 0 && !Array.isArray(container) && Object.hasOwn(container, key));
    delete container[key];
  },
};

/**
 * What the delta makes of a value. The value itself stays as it was; parts are shared between the two.
 * @param {any} value of JSON
 * @param {any} delta
 * @returns {any}
 * @throws {RangeError} where the delta is none, or a path leads nowhere
 */
export function applyDelta(value, delta) {
  /** @type {Top} */
  const top = { whole: [value], own: new Set() };
  top.own.add(top.whole);
  check(Array.isArray(delta));
  for (const operation of delta) {
    check(Array.isArray(operation) && operation.length === 3);
    const [op, path, given] = operation;
    check(typeof op === 'string' && Object.hasOwn(OPERATIONS, op) && Array.isArray(path));
    OPERATIONS[op](top, path, given);
  }
  return top.whole[0];
}

/** @param {unknown} fits @returns {asserts fits} */
function check(fits) {
  if (!fits) throw new RangeError('A delta fits nowhere.');
}

/** @param {unknown} part @returns {part is number} */
const isIndex = (part) => Number.isInteger(part) && Number(part) >= 0;

// The container that the path's last part is of, copied before its first change, and that part.
/** @param {Top} top @param {any[]} path @returns {{container: Container, key: any}} */
function place(top, path) {
  /** @type {Container} */ let container = top.whole;
  /** @type {any} */ let key = 0;
  for (const part of path) {
    container = ownItem(top, container, key);
    check(Array.isArray(container) ? isIndex(part) : typeof part === 'string');
    key = part;
  }
  return { container, key };
}

/** @param {Container} container @param {any} key @returns {any} */
function item(container, key) {
  check(Array.isArray(container) ? key < container.length : Object.hasOwn(container, key));
  return container[key];
}

/** @param {Top} top @param {Container} container @param {any} key @returns {Container} */
function ownItem(top, container, key) {
  const child = item(container, key);
  check(child !== null && typeof child === 'object');
  if (top.own.has(child)) return child;
  const copy = Array.isArray(child) ? [...child] : { ...child };
  top.own.add(copy);
  put(container, key, copy);
  return copy;
}

// A plain assignment to `__proto__` would set the prototype.
/** @param {Container} container @param {any} key @param {any} value */
function put(container, key, value) {
  if (Array.isArray(container)) container[key] = value;
  else Object.defineProperty(container, key, { value, writable: true, enumerable: true, configurable: true });
}

// Put `given` (undefined: nothing) in the place of the items of `range` (null: at the end).
/** @param {Top} top @param {any[]} path @param {any} range @param {any} given */
function splice(top, path, range, given) {
  const { container, key } = place(top, path);
  const target = item(container, key);
  const isText = typeof target === 'string';
  check(isText || Array.isArray(target));
  check(given === undefined || (isText ? typeof given === 'string' : Array.isArray(given)));
  check(range === null || (range.length === 2 && range.every(isIndex) && range[0] <= range[1]));
  if (isText) {
    const [start, end] = range === null ? [target.length, target.length] : units(target, range);
    put(container, key, target.slice(0, start) + (given ?? '') + target.slice(end));
    return;
  }
  const [start, end] = range ?? [target.length, target.length];
  check(end <= target.length);
  put(container, key, [...target.slice(0, start), ...(given ?? []), ...target.slice(end)]);
}

// Places in code points, as the wire counts, to places in UTF-16 units.
/** @param {string} text @param {[number, number]} range @returns {[number, number]} */
function units(text, [start, end]) {
  const from = unitsTo(text, 0, start);
  return [from, unitsTo(text, from, end - start)];
}

/** @param {string} text @param {number} from @param {number} points */
function unitsTo(text, from, points) {
  let at = from;
  for (; points > 0 && at < text.length; points -= 1) at += Number(text.codePointAt(at)) > 0xffff ? 2 : 1;
  check(points === 0);
  return at;
}
