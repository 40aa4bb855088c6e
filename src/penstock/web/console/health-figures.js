// What Health shows of two looks at the metrics, and in words what is wrong. Pure.

import { quantile } from './metrics.js';
import { bytes, milliseconds, short } from './units.js';

/** Kept: two minutes, one look a second. */
export const KEPT = 120;

const SLOW_COMMIT_S = 1; // as the alert in docs/operations.md has it

/**
 * @typedef {object} Figures of one moment; null where it can't be known
 * @property {number} atMs
 * @property {Record<string, number|null>} values by the names of CHARTS
 */

/**
 * @typedef {object} Chart
 * @property {string} key @property {string} name @property {string} help
 * @property {(value: number) => string} words the value with its unit
 * @property {string} [limit] the figure that bounds it, drawn as a line where it is near
 * @property {number} [unit] in which its scale is round
 */

/** @type {Chart[]} */
export const CHARTS = [
  { key: 'delivered', name: 'Delivered', help: 'Events handed to readers', words: (x) => `${short(x)} events/s` },
  { key: 'readers', name: 'Readers', help: 'Connected now', words: (x) => short(x) },
  {
    key: 'lag',
    name: 'Lag',
    help: 'Events stored and not yet handed over, all readers',
    words: (x) => `${short(x)} events`,
  },
  { key: 'commit', name: 'Commit', help: 'One transaction of the store, 99 of 100 are faster', words: milliseconds },
  { key: 'stored', name: 'Stored', help: 'Events written', words: (x) => `${short(x)} events/s` },
  { key: 'running', name: 'Running', help: 'Runs under way', words: (x) => short(x) },
  { key: 'waiting', name: 'Waiting', help: 'Runs in line', words: (x) => short(x) },
  {
    key: 'memory',
    name: 'Memory',
    help: 'In use, of what the service may have',
    words: bytes,
    limit: 'memoryLimit',
    unit: 2 ** 20,
  },
  {
    key: 'cpu',
    name: 'Processor',
    help: 'Of these processes; 100 % is one core',
    words: (x) => `${x < 10 ? x.toFixed(1) : Math.round(x)} %`,
  },
];

/**
 * @param {import('./metrics.js').Metrics} now @param {number} atMs
 * @param {{metrics: import('./metrics.js').Metrics, atMs: number} | null} before the look before, for rates
 * @returns {Figures}
 */
export function figuresOf(now, atMs, before) {
  /** @param {string} name */
  const rate = (name) => rateOf(now.sum(name), before?.metrics.sum(name), before && atMs - before.atMs);
  const cpu = rate('cpu_seconds_total');
  return {
    atMs,
    values: {
      delivered: rate('events_delivered_total'),
      stored: rate('events_appended_total'),
      readers: now.sum('readers') ?? null,
      lag: now.sum('reader_lag_events') ?? null,
      commit:
        before &&
        quantile(0.99, before.metrics.buckets('commit_duration_seconds'), now.buckets('commit_duration_seconds')),
      running: now.sum('queue_running') ?? null,
      waiting: now.sum('queue_waiting') ?? null,
      memory: now.sum('memory_used_bytes') ?? now.sum('resident_memory_bytes') ?? null,
      memoryLimit: now.sum('memory_limit_bytes') ?? null,
      cpu: cpu === null ? null : cpu * 100,
    },
  };
}

// A counter that has fallen is another process's, or that of a new one.
/** @param {number|undefined} now @param {number|undefined} before @param {number|null} ms */
function rateOf(now, before, ms) {
  if (now === undefined || before === undefined || !ms || now < before) return null;
  return ((now - before) * 1000) / ms;
}

/**
 * @param {object} known
 * @param {import('./metrics.js').Metrics | null} known.metrics the latest
 * @param {import('./metrics.js').Metrics | null} known.first the oldest that is kept
 * @param {{status: number, code?: string, message?: string, hint?: string, memory?: string}} known.ready what /readyz said
 * @param {Figures | undefined} known.figures
 * @returns {string[]} sentences; none where nothing is wrong
 */
export function troublesOf({ metrics, first, ready, figures }) {
  if (ready.status === 0) return ['The server does not answer. What is shown is what was last known.'];
  /** @param {string} name */
  const since = (name) => Math.max(0, (metrics?.sum(name) ?? 0) - (first?.sum(name) ?? 0));
  const refusals = since('store_errors_total');
  const commit = figures?.values.commit ?? 0;
  const held = metrics?.sum('queue_held');
  return [
    ready.code === 'server_closing' && 'The server is leaving: it takes no new runs. Readers move on by themselves.',
    ready.code && ready.code !== 'server_closing' && [ready.message, ready.hint].filter(Boolean).join(' '),
    !ready.code &&
      metrics?.sum('store_up') === 0 &&
      'The store could not be read in time. Runs wait, and new ones are refused.',
    isTight(metrics, ready) &&
      'Memory is tight: functions wait at their yields and new runs are refused until some is free.',
    refusals > 0 && `The store refused ${number(refusals, 'operation')} in the last two minutes. The log says why.`,
    commit > SLOW_COMMIT_S && `Writing is slow: one commit takes ${milliseconds(commit)}. Readers see events late.`,
    metrics?.sum('workers') === 0 && 'No process executes runs: what is submitted waits.',
    since('attempts_lost_total') > 0 &&
      `${number(since('attempts_lost_total'), 'attempt')} lost their process in the last two minutes.`,
    since('readers_stalled_total') > 0 &&
      `${number(since('readers_stalled_total'), 'reader')} took nothing for too long and had to come back.`,
    held && `${number(held, 'call')} of ended runs have not returned yet, and take places of their groups.`,
  ].flatMap((one) => (typeof one === 'string' ? [one] : []));
}

/** @param {any} metrics @param {any} ready */
const isTight = (metrics, ready) => ready.memory === 'tight' || (metrics?.sum('memory_tight') ?? 0) > 0;

/** @param {number} count @param {string} noun */
const number = (count, noun) => `${short(count)} ${noun}${count === 1 ? '' : 's'}`;

/** @param {import('./metrics.js').Metrics} metrics @returns {string} whose figures they are */
export function speakerOf(metrics) {
  const [processes, workers] = [metrics.sum('processes') ?? 1, metrics.sum('workers')];
  const version = metrics.samples('build_info')[0]?.labels.version;
  const whose = processes > 1 ? `Figures of ${processes} processes together.` : 'Figures of the process that answered.';
  const executing =
    workers === undefined
      ? ''
      : `${number(workers, 'process').replace('processs', 'processes')} ${workers === 1 ? 'executes' : 'execute'} runs of this store.`;
  return [whose, executing, version && `Penstock ${version}.`].filter(Boolean).join(' ');
}
