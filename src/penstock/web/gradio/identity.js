// Which session a tab has. Gradio's page makes a random one each time it is loaded; ours outlives a reload, and no two tabs
// that are open have the same.

/** What another tab has is not given back within this: it is not one that is just being left. */
const TAKEN_MS = 1_500;

/** How long other tabs have to say what they have, where the browser has no locks (plain HTTP). */
const ASK_MS = 250;

/** @returns {string} as Gradio makes them: letters and digits, 80 bits */
export function randomName() {
  const parts = crypto.getRandomValues(new Uint8Array(16));
  return [...parts].map((part) => (part % 36).toString(36)).join('');
}

/** Who has a session, among the tabs of an origin. */
export class Claims {
  #release = () => {};
  #channel = /** @type {BroadcastChannel|null} */ (null);
  #held = '';

  /**
   * Take a session. Held until the page is left, however it is left.
   * @param {string} session
   * @returns {Promise<boolean>} false: another tab has it
   */
  take(session) {
    this.release();
    return navigator.locks ? this.#lock(session) : this.#ask(session);
  }

  /** Let go: the page goes into the browser's cache, or for good. */
  release() {
    this.#release();
    this.#release = () => {};
    this.#held = '';
  }

  /** @param {string} session @returns {Promise<boolean>} */
  #lock(session) {
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), TAKEN_MS);
    return new Promise((taken) => {
      const hold = () => {
        clearTimeout(timer);
        taken(true);
        return new Promise((resolve) => (this.#release = () => resolve(undefined)));
      };
      navigator.locks.request(`penstock-gradio-${session}`, { signal: limit.signal }, hold).catch(() => taken(false));
    });
  }

  // A tab that is frozen does not answer, and is then taken for gone.
  /** @param {string} session @returns {Promise<boolean>} */
  async #ask(session) {
    if (!('BroadcastChannel' in globalThis)) return true;
    const channel = (this.#channel ??= new BroadcastChannel('penstock-gradio'));
    const answered = new Promise((resolve) => {
      setTimeout(() => resolve(false), ASK_MS);
      channel.onmessage = ({ data }) => {
        if (data.held === session) resolve(true);
        if (data.wanted && data.wanted === this.#held) channel.postMessage({ held: data.wanted });
      };
    });
    channel.postMessage({ wanted: session });
    if (await answered) return false;
    this.#held = session;
    return true;
  }
}
