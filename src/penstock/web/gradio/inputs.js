// What somebody has put in and not sent. Gradio's own page tells: each component gets a listener, as `.input(None, js=…)` would
// be in the app, which sends nothing. So values have the form in which they are sent. No network.

import { freeId, seenIn, UNLISTED } from './config.js';

/**
 * @typedef {import('./config.js').Config} Config
 * @typedef {import('./config.js').Component} Component
 */

/** The function of the window that is told. */
const TOLD = 'penstockGradioInput';

/** By what a component says that somebody has done something to it; an output does not make it say so. */
const DONE = ['input', 'upload', 'clear', 'delete'];

/** Some say of some of it (a paste, a date) no more than this, and say the above too early. Outputs make them say it, too. */
const CHANGED = ['change'];

/** So a change is somebody's where anything was done on the page so long before at most. */
const LATELY_MS = 5_000;

/** What is done on a page. */
const ACTS = ['pointerdown', 'keydown', 'input', 'change', 'paste', 'drop'];

/**
 * Gradio lets somebody write into a component that a function takes, whatever else holds: a listener must not take one that
 * nobody may write into. Called before values are restored, as a value may tell, too.
 * @param {Config} config
 * @returns {Component[]}
 */
function writable(config) {
  const inputs = new Set(config.dependencies.flatMap((one) => one.inputs));
  const outputs = new Set(config.dependencies.flatMap((one) => one.outputs));
  return [...seenIn(config).values()].filter(
    (one) => hasValue(one) && isWritable(one, inputs.has(one.id), outputs.has(one.id)),
  );
}

/** @param {Component} one @returns {boolean} neither a row or a button, nor a camera, whose value is what it sees just now */
const hasValue = (one) => !one.skip_api && one.props.streaming !== true && isRestorable(one);

/**
 * @param {Component} component
 * @returns {boolean} whether it can begin with what was sent; a drawing is sent as the name of what was uploaded before
 */
export const isRestorable = ({ type }) => type !== 'imageeditor';

/** @param {Component} component @param {boolean} isInput @param {boolean} isOutput */
function isWritable({ props: { interactive, value } }, isInput, isOutput) {
  if (typeof interactive === 'boolean') return interactive;
  return isInput || (!isOutput && isEmpty(value));
}

/** @param {any} value */
const isEmpty = (value) => !value || (Array.isArray(value) && value.length === 0);

/**
 * Have Gradio's page tell when somebody has put something into a component.
 * @param {Config} config is changed
 */
export function listenToInputs(config) {
  for (const component of writable(config)) {
    add(config, component, DONE, true);
    add(config, component, CHANGED, false);
  }
}

/** @param {Config} config @param {Component} component @param {string[]} words @param {boolean} isDone */
function add(config, component, words, isDone) {
  const id = freeId(config);
  // The first: an app's own function may take its time, and fail.
  config.dependencies.unshift(listener(id, component, words, isDone));
  for (const page of Object.values(config.page))
    if (page.components.includes(component.id)) page.dependencies.push(id);
}

/**
 * @param {Pick<import('./tab.js').Tab, 'typed'|'isWritten'>} tab
 * @param {EventTarget} page
 */
export function hearInputs(tab, page) {
  let actedMs = -Infinity;
  /** @type {any} */ let field = null;
  for (const name of ACTS) page.addEventListener(name, () => (actedMs = performance.now()), true);
  page.addEventListener('input', ({ target }) => (field = target), true);
  /** @param {number} id @param {any} value */
  const isSomebodys = (id, value) =>
    (typeof value === 'string' && field?.value === value) || // whatever comes meanwhile, this was typed
    (performance.now() - actedMs <= LATELY_MS && !tab.isWritten(id));
  /** @type {any} */ (window)[TOLD] = (/** @type {number} */ id, /** @type {any} */ value, /** @type {boolean} */ isDone) => {
    if (isDone || isSomebodys(id, value)) tab.typed(id, plain(value));
  };
}

/**
 * @param {number} id
 * @param {Component} component
 * @param {string[]} words
 * @param {boolean} isDone whether they say that it was somebody
 * @returns {any} as Gradio describes a function
 */
const listener = (id, component, words, isDone) => ({
  ...UNLISTED,
  id,
  targets: words.map((word) => [component.id, word]),
  inputs: [component.id],
  outputs: [],
  backend_fn: false,
  js: `(value) => window.${TOLD}?.(${component.id}, value, ${isDone})`,
  queue: false,
  trigger_mode: 'multiple',
  show_progress: 'hidden',
  show_progress_on: null,
  scroll_to_output: false,
  batch: false,
  max_batch_size: 4,
  cancels: [],
  types: { generator: false, cancel: false },
  collects_event_data: false,
  trigger_after: null,
  trigger_only_on_success: false,
  trigger_only_on_failure: false,
  connection: 'sse',
  time_limit: null,
  stream_every: 0.5,
  event_specific_args: null,
  js_implementation: null,
  render_id: null,
});

/**
 * @param {any} value as Gradio's page has it
 * @returns {any} as it would be sent; undefined where it can't be: it holds what has no JSON form
 */
export const plain = (value) => (isPlain(value) ? JSON.parse(JSON.stringify([value]))[0] : undefined);

/** @param {any} value @returns {boolean} */
function isPlain(value) {
  if (typeof value !== 'object' || value === null) return !['function', 'symbol', 'bigint'].includes(typeof value);
  if (Array.isArray(value)) return value.every(isPlain);
  if (value.is_stream) return false; // its address goes with its run
  const isData = Object.getPrototypeOf(value) === Object.prototype || value.meta?._type === 'gradio.FileData';
  return isData && Object.values(value).every(isPlain);
}
