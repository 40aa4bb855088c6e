// Wires the rooms together: hash to run, form to run, stream to fold to view.

import { call, clock, submit } from './api.js';
import { Fold, isLast } from '../client/fold.js';
import { Form } from './form.js';
import { RunStream } from './old_stream.js';
import { duration, h, put, span } from '../client/dom.js';
import { RunView, isLive, stateOf } from './view.js';

const RECENT = 20; // runs listed
const TICK_MS = 500; // of the running clocks
const HIDDEN_RATE = 1; // updates a second for a page that nobody sees
const HIDDEN_AFTER_MS = 3000; // who looks into another tab for a moment costs no new connection

const byId = (id) => document.getElementById(id);
const page = { functions: [], form: null, chosen: null, touched: false, run: null, view: null, recentMs: 0 };

// ---- functions and the form

async function loadFunctions() {
  try {
    page.functions = (await call('api/functions')).functions;
  } catch (error) {
    byId('functions').lastElementChild.replaceWith(h('p', { className: 'error' }, sentence(error)));
    if (error.status === 0 || error.status >= 500) setTimeout(loadFunctions, 3000);
    return;
  }
  const rows = page.functions.map(functionRow);
  if (!rows.length) rows.push(h('p', { className: 'help' }, 'None is registered.'));
  byId('functions').replaceChildren(h('legend', {}, 'Functions'), ...rows);
  if (page.functions[0]) choose(page.chosen ?? page.functions[0].name);
  fillFromRun();
}

function functionRow({ name, description }) {
  const input = h('input', { type: 'radio', name: 'function', value: name, onchange: () => choose(name) });
  const help = (description ?? '').split('\n\n')[0];
  return h('label', {}, input, span('name', name), span('help', help));
}

function choose(name) {
  const found = page.functions.find((one) => one.name === name);
  if (!found || (page.chosen === name && page.form)) return;
  page.chosen = name;
  for (const radio of byId('functions').querySelectorAll('input')) radio.checked = radio.value === name;
  page.form = new Form(byId('fields'), found.input_schema);
  put(byId('form-error'), '');
  byId('run-button').disabled = false;
}

async function start(event) {
  event.preventDefault();
  const input = page.form?.read();
  if (!input || byId('run-button').disabled) return;
  byId('run-button').disabled = true;
  put(byId('form-error'), '');
  try {
    const { run_id: id } = await submit(page.chosen, input);
    page.touched = false;
    location.hash = encodeURIComponent(id);
    byId('run').scrollIntoView({ block: 'nearest' });
  } catch (error) {
    const shown = error.field && page.form.showError(error.field, sentence(error));
    if (!shown) put(byId('form-error'), sentence(error));
  } finally {
    byId('run-button').disabled = false;
  }
}

// ---- the run on the page

function route() {
  const id = decodeURIComponent(location.hash.slice(1));
  if (id === (page.run?.id ?? '')) return;
  page.run?.stream.close();
  page.run = id ? openRun(id) : null;
  page.view = id ? new RunView() : null;
  byId('run').hidden = !id;
  byId('empty').hidden = Boolean(id);
  loadRecent();
  draw();
}

function openRun(id) {
  const run = { id, record: null, status: {}, fold: new Fold(), notices: [], receipt: '' };
  run.stream = new RunStream(`api/runs/${encodeURIComponent(id)}/events`, {
    take: (event) => take(run, event),
    status: (status) => {
      if (status.state === 'running' && run.status.state === 'queued') loadRecord(run).then(loadRecent);
      run.status = status;
      run.receipt = RECEIPTS[status.cancel] ?? run.receipt; // somebody may have stopped it elsewhere
      draw();
    },
    restart: () => restart(run),
    gone: () => loadRecord(run),
    change: () => draw(),
  });
  loadRecord(run);
  return run;
}

function take(run, event) {
  const verdict = run.fold.apply(event);
  if (isLast(event)) loadRecord(run).then(loadRecent);
  else if (run.status.state === 'queued' && event.type !== 'reset' && event.seq) started(run);
  draw();
  return verdict;
}

function started(run) {
  run.status = { state: 'running' };
  loadRecord(run).then(loadRecent);
}

function restart(run) {
  run.notices = [`Events after ${run.fold.position} are missing. Reading this run again from its start.`];
  run.fold = Object.assign(new Fold(), { generation: run.fold.generation + 1 });
}

// Whether the server will never serve this run: then the stream need not ask again.
async function loadRecord(run) {
  try {
    run.record = await call(`api/runs/${encodeURIComponent(run.id)}`);
    if (isLive(run.record.state)) run.status = run.record;
    if (run === page.run) fillFromRun();
  } catch (error) {
    if (![401, 403, 404].includes(error.status)) return false;
    run.notices = [sentence(error)];
    run.stream.close();
    return true;
  } finally {
    draw();
  }
  return false;
}

// A run that was opened by its link brings its input along; what was typed is left alone.
function fillFromRun() {
  const record = page.run?.record;
  if (!record?.input || page.run.filled || !page.functions.length) return;
  page.run.filled = true;
  if (page.touched) return;
  choose(record.function);
  if (page.chosen === record.function) page.form.fill(record.input);
}

async function stop() {
  const run = page.run;
  byId('stop-button').disabled = true;
  try {
    const { cancel } = await call(`api/runs/${encodeURIComponent(run.id)}/cancel`, {});
    run.receipt = RECEIPTS[cancel] ?? cancel ?? '';
  } catch (error) {
    run.receipt = `Not stopped: ${sentence(error)}`;
  }
  byId('stop-button').disabled = false;
  draw();
}

const RECEIPTS = {
  requested: 'Stop requested: the worker has not seen it yet.',
  acknowledged: 'Stop acknowledged: the function is being stopped.',
  stopped: 'Stopped.',
};

// ---- recent runs

async function loadRecent() {
  page.recentMs = Date.now();
  const { runs } = await call(`api/runs?limit=${RECENT}`).catch(() => ({ runs: null }));
  if (!runs) return;
  const rows = runs.map(recentRow);
  byId('runs').replaceChildren(...(rows.length ? rows : [h('li', { className: 'help' }, 'None yet.')]));
}

const ago = (ms) => (ms < 60_000 ? 'now' : `${duration(ms).replace(/ \d+ (s|min)$/, '')} ago`);

function recentRow({ run_id: id, function: name, state, created_at_ms: createdMs }) {
  const age = span('time', ago(clock.now() - createdMs));
  const standing = h('span', { className: 'state', data: { state } }, state);
  const link = h('a', { href: `#${encodeURIComponent(id)}` }, span('name', name), standing, age);
  if (id === page.run?.id) link.ariaCurrent = 'true';
  return h('li', {}, link);
}

// ---- drawing: at most once a frame; a hidden tab has no frames, but its title is still read

let due = false;

function draw() {
  if (due) return;
  due = true;
  if (document.hidden) setTimeout(drawNow, TICK_MS);
  else requestAnimationFrame(drawNow);
}

function drawNow() {
  due = false;
  const { run, view } = page;
  const state = run ? run.stream.state : 'idle';
  byId('connection').dataset.state = state;
  put(byId('connection'), run?.stream.draining ? 'server restarting' : state.replace('idle', ''));
  document.title = run?.record ? `${stateOf(run)}: ${run.record.function} · Penstock` : 'Penstock';
  if (!run) return;
  const following = isLive(stateOf(run)) && isAtBottom();
  view.update(run, clock.now());
  if (following) window.scrollTo({ top: document.documentElement.scrollHeight, behavior: 'instant' });
}

const isAtBottom = () => {
  const { scrollHeight, clientHeight, scrollTop } = document.documentElement;
  return scrollTop > 0 && scrollHeight - clientHeight - scrollTop < 60;
};

function sentence({ message, hint }) {
  return [message, hint].filter(Boolean).join(' ');
}

// ---- waking up: a timer that comes late by a minute is a machine that slept

let tickMs = Date.now();

function tick() {
  const sleptMs = Date.now() - tickMs - TICK_MS;
  tickMs = Date.now();
  if (document.hidden) return;
  if (sleptMs > 10_000) wake();
  const state = page.run && stateOf(page.run);
  // A connection can die without a word, and heartbeats are comments, which EventSource does not show.
  if (isLive(state)) page.run.stream.wake();
  if (isLive(state)) draw();
}

// Nobody looks: one update a second will do, and all is there at once when somebody does.
function slowDown() {
  if (document.hidden) page.run?.stream.pace(HIDDEN_RATE);
}

function wake() {
  if (document.hidden) {
    setTimeout(slowDown, HIDDEN_AFTER_MS);
    return;
  }
  page.run?.stream.pace(0);
  page.run?.stream.wake();
  if (Date.now() - page.recentMs > 5000) loadRecent();
}

byId('run-form').addEventListener('submit', start);
byId('run-form').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) byId('run-form').requestSubmit();
});
byId('run-form').addEventListener('input', () => (page.touched = true));
byId('stop-button').addEventListener('click', stop);
addEventListener('hashchange', route);
for (const name of ['online', 'pageshow']) addEventListener(name, wake);
for (const name of ['visibilitychange', 'resume']) document.addEventListener(name, wake);
setInterval(tick, TICK_MS);

// The server has set its cookie by now; the secret need not stay in the address bar and in shared links.
if (new URLSearchParams(location.search).has('token')) {
  history.replaceState(null, '', location.pathname + location.hash);
}
loadFunctions();
route();
if (!page.run) loadRecent();
if (document.hidden) wake(); // opened in the background
