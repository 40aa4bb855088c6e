// With which other run one is to be compared.

import { duration, h, span } from '../../client/dom.js';
import { clock } from '../server.js';
import { sentence } from './words.js';

const OFFERED = 30; // runs of the same function, the newest

/**
 * Ask, and go there.
 * @param {{call: (path: string) => Promise<any>}} client
 * @param {string} id
 * @param {string} [name] of its function
 */
export async function chooseOther(client, id, name) {
  const list = h('ol', { className: 'offered' }, h('li', { className: 'help' }, 'Loading…'));
  const close = h('button', { type: 'button', className: 'plain', onclick: () => dialog.close() }, 'Close');
  const head = h('div', { className: 'dialog-head' }, h('h2', {}, 'Compare with'), close);
  const dialog = h('dialog', { ariaLabel: 'Compare with' }, head, list);
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  const query = new URLSearchParams({ limit: String(OFFERED), ...(name ? { function: name } : {}) });
  const answer = await client.call(`api/runs?${query}`).catch((error) => ({ error }));
  const rows = (answer.runs ?? [])
    .filter((/** @type {any} */ run) => run.run_id !== id)
    .map((/** @type {any} */ run) => offer(id, run, dialog));
  const none = answer.error ? sentence(answer.error) : 'There is no other run of this function.';
  list.replaceChildren(...(rows.length ? rows : [h('li', { className: 'help' }, none)]));
  /** @type {HTMLElement|null} */ (list.querySelector('a'))?.focus();
}

/** @param {string} id @param {any} run @param {HTMLDialogElement} dialog */
function offer(id, run, dialog) {
  const age = `${duration(clock.now() - run.created_at_ms).replace(/ \d+ (s|min)$/, '')} ago`;
  const lasted = run.ended_at_ms && run.started_at_ms ? duration(run.ended_at_ms - run.started_at_ms) : '';
  const state = h('span', { className: 'state', data: { state: run.state } }, run.state);
  const href = `#/compare/${encodeURIComponent(id)}/${encodeURIComponent(run.run_id)}`;
  const link = h(
    'a',
    { href, onclick: () => dialog.close() },
    span('name', run.run_id),
    state,
    span('time', lasted),
    span('time', age),
  );
  return h('li', {}, link);
}
