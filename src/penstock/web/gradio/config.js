// Gradio's own description of an app, read and edited so that a page begins where the one before it stood. Private to Gradio,
// so its shape is looked at first, and where it is another nothing is touched. No DOM, no network.

/**
 * @typedef {object} Component
 * @property {number} id
 * @property {string} type
 * @property {Record<string, any>} props
 * @property {boolean} [skip_api] no function takes or gives a value of it
 *
 * @typedef {object} Dependency what a function is called by, with what, and where its results go
 * @property {number} id
 * @property {[number|null, string][]} targets
 * @property {number[]} inputs
 * @property {number[]} outputs
 * @property {number[]} cancels
 * @property {boolean} backend_fn
 * @property {number|null} trigger_after
 * @property {boolean} trigger_only_on_success
 * @property {boolean} trigger_only_on_failure
 * @property {string} [connection]
 * @property {number|null} [render_id] of one that makes components
 *
 * @typedef {object} Config
 * @property {Component[]} components
 * @property {Dependency[]} dependencies
 * @property {Record<string, {components: number[], dependencies: number[]}>} page
 * @property {{id: number}} layout
 * @property {string} protocol
 * @property {string} [version] of Gradio
 * @property {string|null} [username] of who has logged in
 *
 * @typedef {Record<string, Record<string, any>>} Values component id to property to value
 */

/** What a component's property is written to from outside; a state's value never leaves the server. */
const UNSEEN = ['state', 'timer', 'browserstate'];

/** What a user's page can do: a value under such a name would not be a value. */
const FORBIDDEN = ['__proto__', 'constructor', 'prototype'];

/** Gradio numbers an app's functions from 0, and on the server those that `gr.render` makes after them: ours are beyond. */
export const FIRST_OWN = 1_000_000;

/** What no list of an app's functions shows. */
export const UNLISTED = { api_name: false, show_api: false, api_visibility: 'private' };

/** @param {any} row @param {(item: any) => boolean} fits @returns {boolean} */
const all = (row, fits) => Array.isArray(row) && row.every(fits);

/** @param {any} config @returns {boolean} whether it is as all supported versions have it */
export function isKnown(config) {
  return (
    config?.protocol === 'sse_v3' &&
    Number.isInteger(config.layout?.id) &&
    all(
      config.components,
      ({ id, type, props }) => Number.isInteger(id) && typeof type === 'string' && isObject(props),
    ) &&
    all(config.dependencies, isDependency) &&
    isObject(config.page) &&
    all(Object.values(config.page), isPage)
  );
}

/** @param {any} it */
const isObject = (it) => typeof it === 'object' && it !== null && !Array.isArray(it);

/** @param {any} page */
const isPage = (page) => all(page?.components, Number.isInteger) && all(page.dependencies, Number.isInteger);

/** @param {any} dep */
function isDependency(dep) {
  return (
    Number.isInteger(dep?.id) &&
    all(dep.targets, (target) => Array.isArray(target) && target.length === 2) &&
    all(dep.inputs, Number.isInteger) &&
    all(dep.outputs, Number.isInteger) &&
    Array.isArray(dep.cancels) &&
    (dep.trigger_after === null || Number.isInteger(dep.trigger_after))
  );
}

/**
 * What tells one app from another, and one user of it: where this differs, ids mean something else, and values are another's.
 * @param {Config} config
 * @returns {string}
 */
export function printOf({ components, dependencies, username = null }) {
  const parts = [
    components.map(({ id, type }) => `${id}${type}`),
    dependencies.map(({ id, targets, inputs, outputs }) => JSON.stringify([id, targets, inputs, outputs])),
    [JSON.stringify(username)],
  ];
  let hash = 5381; // djb2: nobody gains by a collision
  for (const char of parts.join('|')) hash = (Math.imul(hash, 33) ^ char.charCodeAt(0)) >>> 0;
  return `${components.length}.${dependencies.length}.${hash.toString(36)}`;
}

/**
 * What a component shows once an output has come for it.
 * @param {any} output a value, or Gradio's update of several properties
 * @returns {Record<string, any>}
 */
export function propsOf(output) {
  if (!isObject(output) || output.__type__ !== 'update') return { value: output };
  return Object.fromEntries(
    Object.entries(output).filter(([name]) => name !== '__type__' && !FORBIDDEN.includes(name)),
  );
}

/** @param {Config} config @param {number} fn @returns {boolean} whether it makes components: a page that is loaded has them made */
export function isRender({ dependencies }, fn) {
  return (dependencies.find(({ id }) => id === fn)?.render_id ?? null) !== null;
}

/** @param {Config} config @param {number} fn @returns {boolean} whether it is called by itself when the page loads */
export function isLoad({ dependencies }, fn) {
  return dependencies.find(({ id }) => id === fn)?.targets.some(([, name]) => name === 'load') ?? false;
}

/** @param {Config} config @returns {Map<number, Component>} those that are seen; nobody's password is kept */
export function seenIn({ components }) {
  const seen = components.filter(({ type, props }) => !UNSEEN.includes(type) && props.type !== 'password');
  return new Map(seen.map((one) => [one.id, one]));
}

/** @param {Config} config @returns {number[]} those for passwords */
export const secretIn = ({ components }) =>
  components.filter(({ props }) => props.type === 'password').map(({ id }) => id);

/**
 * Begin with these values.
 * @param {Config} config is changed
 * @param {Values} values
 * @returns {number} components that begin with another value than the app's
 */
export function applyValues(config, values) {
  const seen = seenIn(config);
  let count = 0;
  for (const [id, props] of Object.entries(values)) {
    const component = seen.get(Number(id));
    if (!component) continue;
    Object.assign(component.props, props);
    count += 1;
  }
  return count;
}

/**
 * Let the page begin to listen to an event that has begun before it. The function gets a double that is called when the page
 * has loaded, and so do those that follow it; the one with the button stays as it is, so that the button does.
 * @param {Config} config is changed
 * @param {number} fn whose event it is
 * @param {boolean} follow whether what comes after it is still to be called
 * @returns {{root: number, doubles: [number, number][]} | null} ids of the doubles and whose they are, the event's own in `root`;
 *   null where it can't be listened to
 */
export function addDouble(config, fn, follow) {
  const original = config.dependencies.find(({ id }) => id === fn);
  if (!original || original.connection === 'stream' || !original.backend_fn) return null;
  /** @type {[number, number][]} */ const doubles = [];
  const root = double(config, original, {
    targets: [[config.layout.id, 'load']],
    inputs: [], // nothing is sent
    cancels: [],
    js: null,
    trigger_after: null,
  });
  doubles.push([root, fn]);
  if (follow) addFollowers(config, fn, root, doubles);
  return { root, doubles };
}

/** @param {Config} config @param {number} fn @returns {Dependency[]} what is called after it */
export function followersOf({ dependencies }, fn) {
  return dependencies.filter((one) => one.trigger_after === fn);
}

/** @param {Config} config @param {boolean} failed @returns {(follower: Dependency) => boolean} what Gradio calls after such an end */
export function isCalledAfter(config, failed) {
  if (!failed) return (one) => !one.trigger_only_on_failure;
  const major = Number.parseInt(config.version ?? '', 10);
  if (major >= 6) return (one) => one.trigger_only_on_failure; // from 6.0 on, `.then` is not called after a failure
  return (one) => !one.trigger_only_on_success;
}

/** @param {Config} config @param {number} fn @returns {Dependency[]} what is called after it, and after that, to the end */
export function allFollowersOf(config, fn) {
  return followersOf(config, fn).flatMap((one) => [one, ...allFollowersOf(config, one.id)]);
}

/** @param {Config} config @param {number} fn @param {number} parent @param {[number, number][]} doubles */
function addFollowers(config, fn, parent, doubles) {
  for (const follower of followersOf(config, fn)) {
    const id = double(config, follower, { trigger_after: parent });
    doubles.push([id, follower.id]);
    addFollowers(config, follower.id, id, doubles);
  }
}

/** @param {Config} config @returns {number} for one more function */
export const freeId = ({ dependencies }) => Math.max(FIRST_OWN - 1, ...dependencies.map(({ id }) => id)) + 1;

/** @param {Config} config @param {Dependency} original @param {object} given @returns {number} its id */
function double(config, original, given) {
  const id = freeId(config);
  const own = { inputs: [...original.inputs], outputs: [...original.outputs], cancels: [...original.cancels] };
  const made = { ...original, ...own, ...UNLISTED, trigger_mode: 'once', js_implementation: null, ...given, id };
  for (const one of config.dependencies) if (one.cancels.includes(original.id)) one.cancels.push(id);
  for (const page of Object.values(config.page))
    if (page.dependencies.includes(original.id)) page.dependencies.push(id);
  config.dependencies.push(made);
  return id;
}
