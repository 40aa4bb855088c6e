// What a list says of a run. Pure.

import { duration } from '../client/dom.js';
import { isLive } from './run-list.js';

const WORDS = 160; // of an error: what a line of a wide window has room for

/** @param {number} ms since it was submitted @returns {string} */
export function ageOf(ms) {
  const s = Math.max(0, ms) / 1000;
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86_400)} d`;
}

/** @param {any} run @param {number} nowMs @returns {string} how long it took, or has taken; '' before it starts */
export function timeOf(run, nowMs) {
  const endMs = run.ended_at_ms ?? (run.state === 'running' ? nowMs : null);
  if (!run.started_at_ms || !endMs) return '';
  const ms = Math.max(0, endMs - run.started_at_ms);
  return run.ended_at_ms && ms < 1000 ? `${ms} ms` : duration(ms);
}

/** @param {number} ms that are only guessed: no seconds among minutes @returns {string} */
export function roughly(ms) {
  if (ms < 59_500) return ms < 10_000 ? duration(ms) : `${Math.round(ms / 1000)} s`;
  const minutes = Math.round(ms / 60_000);
  return minutes < 60 ? `${minutes} min` : duration(minutes * 60_000).replace(/ 0 min$/, '');
}

/** @param {any} run @returns {string} where it waits, how it is being stopped, or what went wrong */
export function detailOf(run) {
  const parts = [];
  if (run.state === 'queued') parts.push(placeOf(run));
  if (isLive(run.state) && run.cancel) parts.push(`stop ${run.cancel}`);
  if (run.error) parts.push(isLive(run.state) ? `last attempt: ${firstWords(run.error)}` : firstWords(run.error));
  if (!run.error) parts.push(inputOf(run));
  return parts.filter(Boolean).join(' · ');
}

/** @param {any} run @returns {string} how its input begins, without the braces: it tells runs of one function apart */
export function inputOf({ input_start: text = '' }) {
  const given = GRADIO.exec(text)?.[1] ?? text.replace(/^\{|\}$/g, '');
  return given.slice(0, 2 * WORDS);
}

/** An event of Gradio's: what its components had, and how it came. */
const GRADIO = /^\{"data":\[(.*?)\],"gradio":\{"session_hash":/s;

/** @param {any} run that waits */
export function placeOf({ position, eta_s: etaS, priority }) {
  const place = Number.isInteger(position) ? `position ${position}` : '';
  const eta = etaS ? `about ${roughly(etaS * 1000)}` : '';
  const ahead = priority ? `priority ${priority}` : '';
  return [place, eta, ahead].filter(Boolean).join(', ');
}

/** @param {any} given */
function firstWords({ code, message }) {
  const line = (message || code || '').split('\n', 1)[0];
  return line.length > WORDS ? `${line.slice(0, WORDS)}…` : line;
}
