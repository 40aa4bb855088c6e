// Where Gradio's page is made on the server (SSR), its own script does not wait for ours: this one, which stands before it
// and is no module, has the page's requests wait until ours is there. Without it they go as they came.

(() => {
  const plain = window.fetch.bind(window);
  /** @type {(fetch: typeof window.fetch) => void} */ let open;
  /** @type {Promise<typeof window.fetch>} */
  const there = new Promise((resolve) => (open = resolve));
  window.fetch = (input, init) => there.then((fetch) => fetch(input, init));
  /** @type {any} */ (window).penstockGradio = {
    plain,
    open: (/** @type {typeof window.fetch} */ fetch) => open(fetch),
  };
  const isOurs = (/** @type {any} */ target) =>
    target?.tagName === 'SCRIPT' && /\/web\/gradio\/page\.js$/.test(target.src);
  // It can't be had, or one of its modules can't. Only the page's own request is an error of ours to see.
  addEventListener('error', ({ target }) => isOurs(target) && open(plain), true);
  addEventListener('load', () => setTimeout(() => open(plain), 5_000)); // modules come before the load
})();
