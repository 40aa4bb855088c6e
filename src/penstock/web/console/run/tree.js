// Steps to the rows of a tree: what stands below what, what is folded away, and sums. No DOM.

/** Levels looked up for where a new row goes; a deeper one has all rows laid out anew. */
const NEAR_LEVELS = 64;

/**
 * @typedef {import('../../client/fold.js').Step} Step
 * @typedef {import('../../client/fold.js').Usage} Usage
 * @typedef {object} Node
 * @property {string} id of the step; '' is the run itself
 * @property {Step|null} step null for the run
 * @property {Node|null} parent
 * @property {Node[]} children
 * @property {number} depth 0 for the run
 * @property {boolean} closed its children are folded away
 * @property {number} row its place among the rows; -1 where it is not shown
 * @property {Usage|null} total its own usage and that of all below; null where nothing is known
 * @property {string} passedOn the message of a failed child's error: an exception goes up through all steps around it
 */

/** The steps of one run. */
export class Tree {
  /** @type {Map<string, Node>} */ nodes = new Map();
  /** @type {Node[]} those that are shown, from top to bottom */ rows = [];
  /** @type {Map<string, number>} how many steps there are of each kind */ kinds = new Map();
  /** @type {Set<string>} kinds to be shown, and what they stand in; all where it is empty */ filter = new Set();
  /** Some step says when its first output came. */ timed = false;
  /** @type {Node[]} parents before children */ #order = [];
  #root = nodeOf('', null, null);
  #untidy = false;
  #unsummed = false;

  constructor() {
    this.clear();
  }

  clear() {
    const closed = [...this.nodes.values()].filter((node) => node.closed).map(({ id }) => id);
    this.#root = nodeOf('', null, null);
    this.nodes = new Map([['', this.#root]]);
    this.#order = [this.#root];
    this.kinds = new Map();
    this.rows = [];
    this.timed = false;
    this.#closedBefore = new Set(closed);
    this.#untidy = this.#unsummed = true;
  }

  /** @type {Set<string>} */ #closedBefore = new Set();

  get root() {
    return this.#root;
  }

  /**
   * A step began.
   * @param {Step} step
   */
  add(step) {
    const parent = this.nodes.get(step.parent ?? '') ?? this.#root;
    const node = nodeOf(step.id, step, parent);
    node.closed = this.#closedBefore.has(step.id);
    parent.children.push(node);
    this.nodes.set(step.id, node);
    this.#order.push(node);
    this.kinds.set(step.kind, (this.kinds.get(step.kind) ?? 0) + 1);
    if (!this.#untidy) this.#place(node, parent);
  }

  // Mostly it goes below all others: then they stay where they are.
  /** @param {Node} node @param {Node} parent */
  #place(node, parent) {
    if (!this.filter.size && (parent.row < 0 || parent.closed)) return; // folded away
    let last = this.rows.at(-1) ?? null;
    for (let level = 0; last && last !== parent && level < NEAR_LEVELS; level += 1) last = last.parent;
    this.#untidy = last !== parent || this.filter.size > 0;
    if (!this.#untidy) node.row = this.rows.push(node) - 1;
  }

  /**
   * A step ended, or its end was seen.
   * @param {Step} step @returns {boolean} whether its error is its own
   */
  end(step) {
    const node = this.nodes.get(step.id);
    if (!node || !step.end) return false;
    if (step.end.usage) this.#unsummed = true;
    if (step.end.firstMs != null) this.timed = true;
    const { error } = step.end;
    if (!error) return false;
    if (node.parent) node.parent.passedOn = messageOf(error);
    return node.passedOn !== messageOf(error);
  }

  /**
   * Bring rows and sums up to date.
   * @returns {boolean} whether rows have moved
   */
  tidy() {
    this.#sum();
    if (!this.#untidy) return false;
    this.#untidy = false;
    this.#layOut();
    return true;
  }

  #layOut() {
    const shown = this.filter.size ? this.#matching() : null;
    for (const node of this.#order) node.row = -1;
    this.rows = [];
    const waiting = [this.#root];
    for (let node; (node = waiting.pop());) {
      if (shown && !shown.has(node)) continue;
      node.row = this.rows.push(node) - 1;
      if (node.closed) continue;
      for (let index = node.children.length - 1; index >= 0; index -= 1) waiting.push(node.children[index]);
    }
  }

  #matching() {
    const shown = new Set([this.#root]);
    for (let index = this.#order.length - 1; index > 0; index -= 1) {
      const node = this.#order[index];
      if (this.filter.has(node.step?.kind ?? '')) shown.add(node);
      if (shown.has(node) && node.parent) shown.add(node.parent);
    }
    return shown;
  }

  /** @returns {Usage|null} of the whole run, as far as it is known */
  get total() {
    this.#sum();
    return this.#root.total;
  }

  #sum() {
    if (!this.#unsummed) return;
    this.#unsummed = false;
    for (const node of this.#order) node.total = node.step?.end?.usage ? { ...node.step.end.usage } : null;
    for (let index = this.#order.length - 1; index > 0; index -= 1) {
      const { total, parent } = this.#order[index];
      if (total && parent) parent.total = plus(parent.total, total);
    }
  }

  /** @param {Node} node @param {boolean} closed */
  close(node, closed) {
    if (node.closed === closed || !node.children.length) return;
    node.closed = closed;
    this.#untidy = true;
  }

  /** @param {boolean} closed all steps that hold others; the run itself stays open */
  closeAll(closed) {
    for (const node of this.#order) node.closed = closed && node.depth > 0 && node.children.length > 0;
    this.#closedBefore = new Set();
    this.#untidy = true;
  }

  /** @param {Iterable<string>} kinds none: all are shown */
  filterBy(kinds) {
    this.filter = new Set(kinds);
    this.#untidy = true;
  }

  /**
   * Open what hides a step.
   * @param {string} id @returns {Node|undefined}
   */
  reveal(id) {
    const node = this.nodes.get(id);
    for (let above = node?.parent; above; above = above.parent) this.close(above, false);
    if (node && this.filter.size && node.step && !this.filter.has(node.step.kind)) this.filterBy([]);
    return node;
  }
}

/** @param {string} id @param {Step|null} step @param {Node|null} parent @returns {Node} */
function nodeOf(id, step, parent) {
  const depth = parent ? parent.depth + 1 : 0;
  return { id, step, parent, children: [], depth, closed: false, row: -1, total: null, passedOn: '' };
}

/** @param {{code?: string, message?: string}} error */
const messageOf = ({ code = '', message = '' }) => `${code}: ${message}`;

/**
 * Two usages as one. What neither knows stays unknown; costs in different currencies have no sum.
 * @param {Usage|null} one @param {Usage} other
 * @returns {Usage}
 */
export function plus(one, other) {
  if (!one) return { ...other, model: undefined };
  /** @type {Usage} */ const sum = {};
  for (const key of /** @type {const} */ (['input_tokens', 'output_tokens', 'cost'])) {
    if (one[key] != null || other[key] != null) sum[key] = (one[key] ?? 0) + (other[key] ?? 0);
  }
  const mixed = one.cost != null && other.cost != null && (one.currency ?? 'USD') !== (other.currency ?? 'USD');
  if (mixed) sum.cost = NaN;
  sum.currency = one.cost != null ? one.currency : other.currency;
  return sum;
}
