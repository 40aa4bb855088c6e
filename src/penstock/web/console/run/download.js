// A run as a file: its record and all its stored events.

import { h } from '../../client/dom.js';

const RELEASE_MS = 60_000; // a slow disk has the file by then

/**
 * Read everything from the store, whatever the page kept, and hand it to the browser to be saved.
 * @param {string} id
 * @param {any} record
 * @param {import('./stored.js').Stored} stored
 * @param {(seq: number) => void} progress
 */
export async function download(id, record, stored, progress) {
  const parts = [`{"run": ${JSON.stringify(record)},\n"events": [\n`];
  let separator = '';
  for await (const events of stored.pages()) {
    parts.push(separator + events.map((event) => JSON.stringify(event)).join(',\n'));
    separator = ',\n';
    progress(events.at(-1).seq);
  }
  parts.push('\n]}\n');
  const url = URL.createObjectURL(new Blob(parts, { type: 'application/json' }));
  h('a', { href: url, download: `${id}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(url), RELEASE_MS);
}
