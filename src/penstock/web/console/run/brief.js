// Values in short, and large ones let go of. No DOM.

import { unitsOf } from '../../client/kept.js';

/** A larger value is not put on the page, nor held, until somebody asks for it. In UTF-16 units. */
export const LARGE_UNITS = 32 * 1024;
const PREVIEW_UNITS = 2_000;
const BRIEF_LEVELS = 6;

/** Stands for a value that was let go. */
export class Large {
  /** @param {any} value @param {number} units */
  constructor(value, units) {
    this.units = units;
    this.preview = brief(value, PREVIEW_UNITS);
  }
}

/**
 * The value, or what stands for it where it is large.
 * @param {any} value of JSON, or a Large @returns {any}
 */
export function lightened(value) {
  if (value === null || value === undefined || value instanceof Large) return value;
  if (typeof value !== 'string' && typeof value !== 'object') return value;
  const units = unitsOf(value);
  return units > LARGE_UNITS ? new Large(value, units) : value;
}

/**
 * The beginning of a value as JSON, a string as it is. Takes as long as what it gives, however large the value is.
 * @param {any} value @param {number} most UTF-16 units
 * @returns {string} with an ellipsis at its end where there is more
 */
export function brief(value, most) {
  if (value instanceof Large) return brief(value.preview, most);
  if (typeof value === 'string') return value.length > most ? `${value.slice(0, most)}…` : value;
  /** @type {string[]} */ const parts = [];
  const left = write(value, most, parts, 0);
  return left < 0 ? `${parts.join('').slice(0, most)}…` : parts.join('');
}

/** @param {any} value @param {number} left @param {string[]} parts @param {number} level @returns {number} left */
function write(value, left, parts, level) {
  if (value === null || typeof value !== 'object') {
    return put(JSON.stringify(typeof value === 'string' ? value.slice(0, left + 1) : value) ?? 'null', left, parts);
  }
  if (level === BRIEF_LEVELS) return put('…', left, parts);
  const isRow = Array.isArray(value);
  let rest = put(isRow ? '[' : '{', left, parts);
  let first = true;
  for (const key in value) {
    if (rest < 0) return rest;
    if (!first) rest = put(', ', rest, parts);
    if (!isRow) rest = put(`${JSON.stringify(key)}: `, rest, parts);
    rest = write(value[key], rest, parts, level + 1);
    first = false;
  }
  return put(isRow ? ']' : '}', rest, parts);
}

/** @param {string} text @param {number} left @param {string[]} parts */
function put(text, left, parts) {
  parts.push(text);
  return left - text.length;
}
