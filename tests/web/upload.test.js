import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Upload, metadataOf, nextPiece } from '../../src/penstock/web/console/upload.js';

const file = (size) => Object.assign(new Blob([new Uint8Array(size).fill(7)]), { name: 'a.bin' });

// A server that speaks tus, and fails as it is told: `plan` has an answer for a request, or lets it through.
class Server {
  asked = [];
  uploads = new Map();
  plan = () => undefined;
  ms = 0;
  paused = [];
  isOffline = false;
  env = {
    fetch: (url, request) => this.answer(url, request),
    now: () => this.ms,
    random: () => 1,
    pause: async (ms) => {
      this.paused.push(ms);
      this.isOffline = false;
    },
    offline: () => this.isOffline,
  };

  async answer(url, { method, headers, body, signal }) {
    this.asked.push(method);
    if (signal?.aborted) throw new Error('aborted');
    const planned = this.plan(method, this.asked.filter((one) => one === method).length);
    if (planned === 0) throw new TypeError('Failed to fetch');
    if (planned)
      return new Response(JSON.stringify({ error: { code: 'x', message: `No: ${planned}` } }), { status: planned });
    return this[method](url.split('/').pop(), headers, body);
  }

  POST() {
    const id = `up${this.uploads.size}`;
    this.uploads.set(id, 0);
    return new Response(JSON.stringify({ upload_id: id }), { status: 201 });
  }

  HEAD(id) {
    if (!this.uploads.has(id)) return new Response(null, { status: 404 });
    return new Response(null, { headers: { 'Upload-Offset': String(this.uploads.get(id)) } });
  }

  PATCH(id, headers, body) {
    if (!this.uploads.has(id)) return new Response('{}', { status: 404 });
    if (Number(headers['Upload-Offset']) !== this.uploads.get(id)) return new Response('{}', { status: 409 });
    this.ms += 100;
    this.uploads.set(id, this.uploads.get(id) + body.size);
    return new Response(null, { status: 204, headers: { 'Upload-Offset': String(this.uploads.get(id)) } });
  }

  DELETE(id) {
    this.uploads.delete(id);
    return new Response(null, { status: 204 });
  }
}

async function uploaded(server, options = {}) {
  const upload = new Upload(options.file ?? file(2_000_000), {
    to: 'http://x/api/uploads',
    env: server.env,
    ...options,
  });
  await upload.settled;
  return upload;
}

test('a file goes up in pieces that grow', async () => {
  const server = new Server();
  const upload = await uploaded(server);
  assert.deepEqual([upload.state, upload.id, upload.sent], ['done', 'up0', 2_000_000]);
  assert.deepEqual(server.asked, ['POST', 'PATCH', 'PATCH', 'PATCH', 'PATCH']);
});

test('an empty file is an upload as well', async () => {
  const server = new Server();
  assert.equal((await uploaded(server, { file: file(0) })).state, 'done');
  assert.deepEqual(server.asked, ['POST']);
});

test('a broken piece is gone on with from what the server has', async () => {
  const server = new Server();
  server.plan = (method, count) => (method === 'PATCH' && count === 2 ? 0 : undefined);
  const upload = await uploaded(server);
  assert.equal(upload.state, 'done');
  assert.equal(server.uploads.get('up0'), 2_000_000);
  assert.deepEqual(server.asked.slice(0, 5), ['POST', 'PATCH', 'PATCH', 'HEAD', 'PATCH']);
});

test('an offset that is not the server’s is asked for', async () => {
  const server = new Server();
  server.plan = (method, count) => {
    if (method === 'PATCH' && count === 2) server.uploads.set('up0', 1_000_000);
    return undefined;
  };
  assert.equal((await uploaded(server)).sent, 2_000_000);
});

test('one that was begun before goes on', async () => {
  const server = new Server();
  server.uploads.set('old', 1_900_000);
  const upload = await uploaded(server, { at: 'http://x/api/uploads/old' });
  assert.deepEqual([upload.state, upload.id], ['done', 'old']);
  assert.deepEqual(server.asked, ['HEAD', 'PATCH']);
});

test('one that is no longer there begins anew, and is remembered', async () => {
  const server = new Server();
  const began = [];
  const upload = await uploaded(server, { at: 'http://x/api/uploads/old', began: (url) => began.push(url) });
  assert.deepEqual([upload.state, upload.id], ['done', 'up0']);
  assert.deepEqual(began, ['http://x/api/uploads/up0']);
});

test('what will never be taken is told at once', async () => {
  const server = new Server();
  server.plan = (method) => (method === 'POST' ? 413 : undefined);
  const upload = await uploaded(server);
  assert.deepEqual([upload.state, upload.error.status, upload.error.message], ['failed', 413, 'No: 413']);
  assert.deepEqual(server.paused, []);
});

test('a server that stays away is given up in the end, and no network is waited out', async () => {
  const server = new Server();
  server.plan = () => 0;
  assert.equal((await uploaded(server)).state, 'failed');
  assert.equal(server.paused.length, 12);
  const lost = new Server();
  let times = 0;
  lost.plan = (method) => {
    if (method !== 'PATCH' || times++ > 20) return undefined;
    lost.isOffline = true;
    return 0;
  };
  assert.equal((await uploaded(lost)).state, 'done');
});

test('a cancelled upload is removed', async () => {
  const server = new Server();
  server.plan = (method, count) => {
    if (method === 'PATCH' && count === 2) queueMicrotask(() => upload.cancel());
    return undefined;
  };
  const upload = new Upload(file(2_000_000), { to: 'http://x/api/uploads', env: server.env });
  await upload.settled;
  assert.equal(upload.state, 'cancelled');
  assert.equal(server.uploads.size, 0);
});

test('pieces take about a second', () => {
  assert.equal(nextPiece(256 * 1024, 100), 512 * 1024);
  assert.equal(nextPiece(256 * 1024, 2000), 128 * 1024);
  assert.equal(nextPiece(256 * 1024, 100_000), 32 * 1024);
  assert.equal(nextPiece(8 * 1024 * 1024, 1), 8 * 1024 * 1024);
});

test('names are sent in UTF-8', () => {
  assert.equal(metadataOf('naïve.txt', 'text/plain'), 'filename bmHDr3ZlLnR4dA==,filetype dGV4dC9wbGFpbg==');
  assert.equal(metadataOf('a', ''), 'filename YQ==');
});
