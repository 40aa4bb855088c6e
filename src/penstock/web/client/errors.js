// What can go wrong, in one class: the server's own words, or ours in the same shape.

/** An answer that is no success, or none at all. `status` 0: no answer. */
export class PenstockError extends Error {
  /**
   * @param {number} status of the HTTP answer; 0 where there was none
   * @param {{code?: string, message?: string, hint?: string, field?: string|null}} error as the server said it
   * @param {number} [retryAfterMs] what a 503 asks for; 0 if nothing
   */
  constructor(status, { code = 'error', message, hint = '', field = null } = {}, retryAfterMs = 0) {
    super(message ?? `The server answered ${status}.`);
    this.name = 'PenstockError';
    this.status = status;
    this.code = code;
    this.hint = hint;
    this.field = field;
    this.retryAfterMs = retryAfterMs;
  }
}
