// Shortcuts: which keys mean what, and the list of them. Keys in a field are the field's.

import { h } from '../client/dom.js';

/**
 * @typedef {object} Shortcut
 * @property {string} keys one key as `KeyboardEvent.key` names it, or several in a row: `g r`
 * @property {string} does for the list
 * @property {(event?: KeyboardEvent) => void} act
 */

/** Between the keys of a row: longer is two different wishes. */
const ROW_MS = 1500;

/** Puts keys together. Pure: the time comes in. */
export class Row {
  #held = '';
  #heldMs = 0;

  /**
   * @param {string} key @param {Shortcut[]} shortcuts the first that fits counts @param {number} nowMs
   * @returns {Shortcut | undefined}
   */
  press(key, shortcuts, nowMs) {
    const before = nowMs - this.#heldMs < ROW_MS ? this.#held : '';
    for (const row of before ? [`${before} ${key}`, key] : [key]) {
      const found = shortcuts.find(({ keys }) => keys === row);
      const begins = shortcuts.some(({ keys }) => keys.startsWith(`${row} `));
      this.#held = !found && begins ? row : '';
      this.#heldMs = nowMs;
      if (found || begins) return found;
    }
    return undefined;
  }
}

/**
 * Listen for shortcuts, for good.
 * @param {() => Shortcut[]} shortcuts those that hold now
 */
export function listen(shortcuts) {
  const row = new Row();
  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (isField(event.target) || document.querySelector('dialog[open]')) return;
    const found = row.press(event.key, shortcuts(), event.timeStamp);
    if (!found) return;
    event.preventDefault();
    found.act(event);
  });
}

/** @param {any} target @returns {boolean} whether it wants letters for itself */
function isField(target) {
  if (target.isContentEditable || ['TEXTAREA', 'SELECT'].includes(target.tagName)) return true;
  return target.tagName === 'INPUT' && !['checkbox', 'radio', 'button', 'file'].includes(target.type);
}

/**
 * Show the list of all shortcuts.
 * @param {[string, Shortcut[]][]} groups each with its title
 */
export function showHelp(groups) {
  const lists = groups.filter(([, shortcuts]) => shortcuts.length).map(helpList);
  const close = h('button', { type: 'button', className: 'plain', onclick: () => dialog.close() }, 'Close');
  const head = h('div', { className: 'dialog-head' }, h('h2', {}, 'Keyboard'), close);
  const dialog = h('dialog', { id: 'help', ariaLabel: 'Keyboard shortcuts' }, head, ...lists);
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  /** @type {HTMLDialogElement} */ (dialog).showModal();
}

/** @param {[string, Shortcut[]]} group */
function helpList([title, shortcuts]) {
  const rows = shortcuts.flatMap(({ keys, does }) => [h('dt', {}, ...keys.split(' ').map(keyCap)), h('dd', {}, does)]);
  return h('section', {}, h('h3', {}, title), h('dl', {}, ...rows));
}

/** @type {Record<string, string>} */
const CAPS = { ArrowUp: '↑', ArrowDown: '↓', ArrowLeft: '←', ArrowRight: '→', Escape: 'Esc', ' ': 'Space' };

/** @param {string} key */
const keyCap = (key) => h('kbd', {}, CAPS[key] ?? key);
