// Where events are asked for: one run at its own address, several over one connection.

/** Updates a second where none are asked for: the server's own pace. */
export const DEFAULT_RATE = 20;

/** @param {import('./index.js').Asked} asked @returns {string} */
export function eventsUrl({ streams, rate }) {
  const query = new URLSearchParams();
  if (streams.length > 1)
    for (const { run, cursor } of streams) query.append('stream', cursor ? `${run}@${cursor}` : run);
  else if (streams[0].cursor) query.set('after', streams[0].cursor);
  if (streams.some(({ cursor, fold }) => fold && !cursor)) query.set('fold', '1');
  if (rate !== undefined) query.set('rate', String(rate));
  const path = streams.length > 1 ? 'api/events' : `api/runs/${encodeURIComponent(streams[0].run)}/events`;
  return `${query}` ? `${path}?${query}` : path;
}
