// The events of docs/PROTOCOL.md as types, for editors and `tsc`: nothing here runs.

/**
 * @typedef {object} Common
 * @property {number} [seq] place in the stream, 1, 2, 3, …; a `reset` about the cursor has none
 * @property {number} [at_ms] Unix milliseconds of the yield
 * @property {string|null} [span] id of the step it belongs to
 * @property {number} [n] it stands for the events `seq-n+1 … seq`
 * @property {boolean} [edge] it follows a checkpoint
 * @property {string} [stream] the run it is of, where a connection carries several
 */

/** @typedef {'succeeded'|'failed'|'cancelled'|'interrupted'} EndState */
/** @typedef {'queued'|'running'|EndState} RunState */
/** @typedef {{code: string, message: string, hint?: string}} RunError */
/** @typedef {(string | number | [number, number])[]} Path keys and indexes; a range at the end of a `remove`'s */
/** @typedef {['append'|'set'|'insert'|'remove', Path, unknown]} DeltaOperation */

/** @typedef {Common & {type: 'text', pos: number, text: string}} TextEvent */
/** @typedef {Common & {type: 'json', value: any}} JsonEvent */
/** @typedef {Common & {type: 'replace', value?: any, delta?: DeltaOperation[]}} ReplaceEvent */
/** @typedef {Common & {type: 'bytes', data: string}} BytesEvent */
/** @typedef {Common & {type: 'progress', done: number, total?: number, unit?: string, fields?: any}} ProgressEvent */
/** @typedef {Common & {type: 'log', message: string, level?: string, fields?: any}} LogEvent */
/** @typedef {{name: string, kind?: string, parent?: string|null, input?: any}} StepBegun */
/** @typedef {Common & StepBegun & {type: 'span-start'}} SpanStartEvent */
/** @typedef {Common & {type: 'span-end', output?: any, error?: RunError|null}} SpanEndEvent */
/** @typedef {Common & {type: 'reset', to: number, reason?: string}} ResetEvent */
/** @typedef {Common & {type: 'end', state: EndState, result?: any, error?: RunError|null}} EndEvent */
/** @typedef {Common & {type: 'fold', events: StreamEvent[]}} FoldEvent in place of all before its `seq` */

/**
 * @typedef {TextEvent|JsonEvent|ReplaceEvent|BytesEvent|ProgressEvent|LogEvent|SpanStartEvent|SpanEndEvent
 *   |ResetEvent|EndEvent|FoldEvent} StreamEvent what a reader gets; types of later versions may come as well
 */

/**
 * @typedef {object} Status of a run, as it was last told; not stored
 * @property {RunState} [state]
 * @property {number|null} [position] 1 is the next to start
 * @property {number|null} [eta_s] seconds until it starts
 * @property {number} [eta_spread_s] one standard deviation of that
 * @property {Receipt|null} [cancel] what has become of a stop
 */

/** @typedef {'requested'|'acknowledged'|'stopped'} Receipt of a stop */
/** @typedef {{position: number|null, eta_s: number|null}} Place in line */
/** @typedef {Place & {run_id: string, state: RunState, events: string}} Submitted */
/** @typedef {{run_id: string, state: RunState, cancel: Receipt|null}} Cancelled */

export {};
