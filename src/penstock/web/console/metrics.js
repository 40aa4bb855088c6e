// Prometheus's text format to numbers. Pure.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
/** @type {Record<string, string>} */
const ESCAPES = { '\\n': '\n', '\\"': '"', '\\\\': '\\' };

/** @typedef {{labels: Record<string, string>, value: number}} Sample */

/** One answer of /metrics. Names are without their `penstock_`. */
export class Metrics {
  /** @type {Map<string, Sample[]>} */ #samples = new Map();

  /** @param {string} text */
  constructor(text) {
    for (const line of text.split('\n')) this.#read(line);
  }

  /**
   * @param {string} name @param {Record<string, string>} [labels] that a sample must have
   * @returns {number | undefined} the sum of all samples; undefined where there is none
   */
  sum(name, labels = {}) {
    const found = this.samples(name, labels);
    return found.length ? found.reduce((sum, { value }) => sum + value, 0) : undefined;
  }

  /** @param {string} name @param {Record<string, string>} [labels] @returns {Sample[]} */
  samples(name, labels = {}) {
    const wanted = Object.entries(labels);
    return (this.#samples.get(name) ?? []).filter((sample) =>
      wanted.every(([key, value]) => sample.labels[key] === value),
    );
  }

  /** @param {string} name of a histogram @returns {Map<number, number>} upper bound to how many were at most that */
  buckets(name) {
    const found = new Map();
    for (const { labels, value } of this.samples(`${name}_bucket`)) {
      const bound = numberOf(labels.le);
      found.set(bound, (found.get(bound) ?? 0) + value);
    }
    return new Map([...found].sort(([a], [b]) => a - b));
  }

  /** @param {string} line */
  #read(line) {
    const match = LINE.exec(line);
    if (!match) return; // a comment
    const labels = Object.fromEntries(
      [...(match[2] ?? '').matchAll(LABEL)].map(([, key, value]) => [key, unescape(value)]),
    );
    const name = match[1].replace(/^penstock_/, '');
    if (!this.#samples.has(name)) this.#samples.set(name, []);
    this.#samples.get(name)?.push({ labels, value: numberOf(match[3]) });
  }
}

/** @param {string} text */
const unescape = (text) => text.replace(/\\./g, (pair) => ESCAPES[pair] ?? pair);

/** @param {string} text */
function numberOf(text) {
  return { '+Inf': Infinity, '-Inf': -Infinity, NaN }[text] ?? Number(text);
}

/**
 * A quantile of what a histogram took in between two looks, taken as spread evenly within a bucket.
 * @param {number} q in (0, 1)
 * @param {Map<number, number>} before @param {Map<number, number>} after
 * @returns {number | null} null where nothing came; beyond the last bound that bound
 */
export function quantile(q, before, after) {
  const counts = [...after].map(([bound, count]) => ({ bound, count: count - (before.get(bound) ?? 0) }));
  const all = counts.at(-1)?.count ?? 0;
  if (all <= 0) return null;
  let [lower, below] = [0, 0];
  for (const { bound, count } of counts) {
    if (count >= q * all)
      return bound === Infinity ? lower : lower + ((bound - lower) * (q * all - below)) / (count - below);
    [lower, below] = [bound, count];
  }
  return lower;
}
