// Why a request came to nothing, in the words of a connection that closes.

import { PenstockError } from '../errors.js';

/** What answered is none of ours: a login page, a proxy's word. */
export class Foreign extends Error {}

/** @param {unknown} reason @returns {import('./index.js').Closing} */
export function closingOf(reason) {
  if (reason instanceof Foreign) return { signal: 'mute', sure: true };
  if (!(reason instanceof PenstockError) || reason.status === 0) return { signal: 'broken' };
  return { signal: 'refused', status: reason.status, error: reason, retryMs: reason.retryAfterMs };
}
