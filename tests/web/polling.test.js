import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PenstockError } from '../../src/penstock/web/client/errors.js';
import { Polling } from '../../src/penstock/web/console/polling.js';

// Time that passes when it is told to.
class World {
  ms = 0;
  isHidden = false;
  timers = [];
  env = {
    now: () => this.ms,
    random: () => 1,
    hidden: () => this.isHidden,
    setTimeout: (act, ms) => this.timers[this.timers.push({ act, at: this.ms + ms }) - 1],
    clearTimeout: (timer) => {
      if (timer) timer.act = () => {};
    },
  };

  async pass(ms) {
    await settle();
    const end = this.ms + ms;
    for (;;) {
      const next = this.timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.timers.splice(this.timers.indexOf(next), 1);
      this.ms = next.at;
      next.act();
      await settle();
    }
    this.ms = end;
    await settle();
  }
}

const settle = () => new Promise((resolve) => setImmediate(resolve));
const away = () => Promise.reject(new PenstockError(0, { message: 'away' }));

function asked(world, load = async () => {}) {
  const polling = new Polling(world.env);
  const times = [];
  const task = polling.add({
    everyMs: 1000,
    load: () => {
      times.push(world.ms);
      return load(times.length);
    },
  });
  return { polling, times, task };
}

test('it asks at once, and then once a second', async () => {
  const world = new World();
  const { polling, times } = asked(world);
  await world.pass(3000);
  assert.deepEqual(times, [0, 1000, 2000, 3000]);
  assert.equal(polling.state, 'live');
});

test('nobody looks: nothing is asked, and at once when somebody does', async () => {
  const world = new World();
  const { polling, times } = asked(world);
  await world.pass(500);
  world.isHidden = true;
  await world.pass(60_000);
  assert.deepEqual(times, [0]);
  world.isHidden = false;
  polling.wake();
  await world.pass(0);
  assert.deepEqual(times, [0, 60_500]);
});

test('a page that is opened in the background asks once', async () => {
  const world = new World();
  world.isHidden = true;
  const { times } = asked(world);
  await world.pass(10_000);
  assert.deepEqual(times, [0]);
});

test('never twice at once, and once more when it was wanted meanwhile', async () => {
  const world = new World();
  let done;
  const { times, task } = asked(world, () => new Promise((resolve) => (done = resolve)));
  await world.pass(5000);
  task.now();
  task.now();
  assert.deepEqual(times, [0]);
  done();
  await world.pass(0);
  assert.deepEqual(times, [0, 5000]);
});

test('while the server is away it asks less and less, and says so', async () => {
  const world = new World();
  const { polling, times } = asked(world, (count) => (count < 5 ? away() : Promise.resolve()));
  await world.pass(0);
  assert.equal(polling.state, 'reconnecting');
  await world.pass(8000);
  assert.deepEqual(times, [0, 500, 1500, 3500, 7500]);
  assert.equal(polling.state, 'live');
});

test('a 503 is believed as to when', async () => {
  const world = new World();
  const { times } = asked(world, (count) =>
    count < 2 ? Promise.reject(new PenstockError(503, {}, 7000)) : Promise.resolve(),
  );
  await world.pass(7000);
  assert.deepEqual(times, [0, 7000]);
});

test('when one gets through again the others need not wait', async () => {
  const world = new World();
  let isAway = true;
  const load = () => (isAway ? away() : Promise.resolve());
  const { polling, times, task } = asked(world, load);
  await world.pass(20_000);
  isAway = false;
  polling.add({ everyMs: 1000, load });
  await world.pass(0);
  assert.equal(times.at(-1), 20_000);
  task.close();
});

test('a refusal is told, and asked about rarely', async () => {
  const world = new World();
  const polling = new Polling(world.env);
  const told = [];
  polling.add({
    everyMs: 1000,
    load: () => Promise.reject(new PenstockError(404, {})),
    failed: ({ status }) => told.push(status),
  });
  await world.pass(20_000);
  assert.deepEqual(told, [404, 404]);
});

test('what is closed asks no more, and the last one leaves it idle', async () => {
  const world = new World();
  const { polling, times, task } = asked(world);
  await world.pass(0);
  task.close();
  await world.pass(5000);
  assert.deepEqual(times, [0]);
  assert.equal(polling.state, 'idle');
});
