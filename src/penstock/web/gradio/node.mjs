// For Gradio's own Node server, which makes pages where SSR is on: loaded into it by `--import`, it puts our scripts into
// them, as the middleware does where Python makes them. Nothing here runs in a browser.

import http from 'node:http';

/** What only a page of Gradio's has. */
const MARK = 'data-gradio-mode';
const HEAD = '<head>';

const told = JSON.stringify({ mode: process.env.PENSTOCK_GRADIO_MODE || 'full' });

/** @param {string} url @returns {string} Gradio's API as the page sees it: relative, as nobody knows what stands before */
const baseOf = (url) => `${'../'.repeat(url.split('?')[0].split('/').length - 2)}gradio_api/penstock/`;

/** @param {string} url */
function tags(url) {
  const folder = `${baseOf(url)}web/gradio/`;
  return (
    `<script type="application/json" id="penstock-gradio">${told}</script>` +
    `<script src="${folder}early.js"></script><script type="module" src="${folder}page.js"></script>`
  );
}

/** @param {any} chunk @param {any} encoding */
const textOf = (chunk, encoding) =>
  typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString(typeof encoding === 'string' ? encoding : 'utf8');

const { writeHead, write, end } = http.ServerResponse.prototype;

/** @param {any} response @returns {boolean} whether it is a page that has not begun */
function isPage(response) {
  const type = String(response.getHeader('content-type') ?? '');
  return type.startsWith('text/html') && !response.getHeader('content-encoding') && !response.penstockDone;
}

/** @param {any} response @param {any} chunk @param {any} encoding */
function withTags(response, chunk, encoding) {
  if (chunk === undefined || chunk === null || typeof chunk === 'function' || !isPage(response)) return chunk;
  response.penstockDone = true;
  const text = textOf(chunk, encoding);
  const place = text.indexOf(HEAD);
  if (place < 0 || !text.includes(MARK) || text.includes('"penstock-gradio"')) return chunk;
  return text.slice(0, place + HEAD.length) + tags(response.req.url) + text.slice(place + HEAD.length);
}

// Its length and its tag are those of another page: without them it goes in chunks.
http.ServerResponse.prototype.writeHead = function (/** @type {any[]} */ ...given) {
  const headers = given.find((one) => typeof one === 'object' && one !== null);
  if (headers && !Array.isArray(headers)) {
    for (const [name, value] of Object.entries(headers)) this.setHeader(name, value);
    given = given.filter((one) => one !== headers);
  }
  if (isPage(this)) for (const name of ['content-length', 'etag']) this.removeHeader(name);
  return writeHead.apply(this, /** @type {any} */ (given));
};

http.ServerResponse.prototype.write = function (/** @type {any} */ chunk, /** @type {any[]} */ ...more) {
  return write.call(this, withTags(this, chunk, more[0]), .../** @type {any} */ (more));
};

http.ServerResponse.prototype.end = function (/** @type {any} */ chunk, /** @type {any[]} */ ...more) {
  return end.call(this, withTags(this, chunk, more[0]), .../** @type {any} */ (more));
};
