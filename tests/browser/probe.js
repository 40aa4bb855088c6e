// A page that reads one run, named in its address, and keeps all that it was handed, so that it can be examined.

const given = new URLSearchParams(location.search);
const mount = given.get('mount') ?? 'penstock';
const { Client, fold } = await import(`/${mount}/web/client/index.js`);

const transports = given.get('transport')?.split(',').filter(Boolean);
const page = given.get('login'); // the name under which tokens are given to it
let tokens = 0;

async function fresh() {
  tokens += 1;
  return (await (await fetch(`/token?page=${page}`)).json()).token;
}

const client = new Client({
  base: new URL(`/${mount}/`, location.href).href,
  ...(page && { token: fresh }),
  ...(transports?.length && { transports }),
  share: given.get('share') === '1',
});

const probe = {
  client,
  tokens: () => tokens,
  /** @type {any[]} */ events: [],
  /** @type {number[]} */ timesMs: [],
  /** @type {string[]} connection states, one after the other */ went: [],
  /** @type {string[]} transports, one after the other */ ways: [],
  /** @type {any[]} */ statuses: [],
  draws: 0,
  subscription: /** @type {any} */ (null),
  /** a second reader, of the state only, which so begins with a fold @type {any} */ watcher: null,
  read(run = given.get('run')) {
    probe.subscription = client.subscribe(run, {
      ...(given.has('after') && { after: given.get('after') }),
      onEvent(event) {
        probe.events.push(structuredClone(event));
        probe.timesMs.push(Date.now());
      },
      onState() {
        probe.draws += 1;
      },
      onStatus: (status) => probe.statuses.push(status),
      onConnection({ connection, transport }) {
        if (probe.went.at(-1) !== connection) probe.went.push(connection);
        if (probe.ways.at(-1) !== transport) probe.ways.push(transport);
      },
    });
    probe.watcher = client.subscribe(run, {
      onState(state) {
        document.getElementById('text').textContent = state.textOf('');
      },
    });
  },
  stands() {
    const { connection, transport, shared, received, resumes, duplicates, draining, error } = probe.subscription;
    const failed = error && { status: error.status, code: error.code };
    const last = probe.timesMs.at(-1) ?? 0;
    return { connection, transport, shared, received, resumes, duplicates, draining, error: failed, last_ms: last };
  },
  /** whether nothing more will change */
  rests() {
    const { connection, error, fold: state } = probe.subscription;
    const watches = error || (probe.watcher.connection === 'ended' && probe.watcher.fold.position === state.position);
    const drawn = document.getElementById('text').textContent === probe.watcher.fold.textOf('');
    return connection === 'stopped' || (connection === 'ended' && watches && drawn);
  },
  after: (ms) => probe.timesMs.find((time) => time > ms) ?? 0,
  examine() {
    const { events, went, draws } = probe;
    const [state, again, watched] = [probe.subscription.fold, fold(events), probe.watcher.fold].map(shape);
    return { ...probe.stands(), events, went, draws, state, again, watched, drawn: document.getElementById('text').textContent };
  },
};

/** What a fold holds, in a form that Python's can be brought into as well. */
function shape(state) {
  const texts = [...state.texts.keys()].map((span) => [span, state.textOf(span)]).filter(([, text]) => text);
  const steps = [...state.steps.values()].map(({ id, name, kind, parent, input, end }) => [
    id,
    { name, kind, parent, input: input ?? null, end: end && { output: end.output ?? null, error: end.error ?? null } },
  ]);
  const { end, progress } = state;
  return {
    position: state.position,
    texts: Object.fromEntries(texts),
    steps: Object.fromEntries(steps),
    values: state.values.map(({ seq, value }) => [seq, value]),
    logs: state.logs.map(({ seq, message }) => [seq, message]),
    replaced: Object.fromEntries(state.replaced.map(({ span, value }) => [span, value])),
    progress: progress ? [progress.done, progress.total ?? null] : null,
    end: end && { state: end.state, result: end.result ?? null, code: end.error?.code ?? null },
  };
}

// A page that reads on from where it stood: its next life begins with what this one was handed.
if (given.get('after') === 'remembered') {
  probe.events.push(...JSON.parse(sessionStorage.getItem('events') ?? '[]'));
  addEventListener('pagehide', () => sessionStorage.setItem('events', JSON.stringify(probe.events)));
}

globalThis.probe = probe;
if (given.get('run')) probe.read();
