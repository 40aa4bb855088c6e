// The page of one run: head, bar, one of three zooms, details beside, and the line that proves that nothing was lost.

import { Frames } from '../../client/frames.js';
import { h, put } from '../../client/dom.js';
import { client, clock } from '../server.js';
import { Bar, ZOOMS } from './bar.js';
import { chooseOther } from './choose.js';
import { download } from './download.js';
import { EventsView } from './events.js';
import { Finder } from './finder.js';
import { Head } from './head.js';
import { MessagesView } from './messages.js';
import { Panel } from './panel.js';
import { nextOf } from './search.js';
import { Session } from './session.js';
import { StepsView } from './steps.js';
import { count, isLive, proof, sentence } from './words.js';

/** @typedef {import('./bar.js').Zoom} Zoom */
/** @typedef {{seq: number, span: string}} Place */

/** The view of one run. */
export class RunPage {
  /** @type {Session|null} */ #session = null;
  /** @type {Zoom} */ #zoom = 'messages';
  /** @type {Place} where the reader is, for what is next */ #at = { seq: 0, span: '' };
  /** @type {{zoom: Zoom, span?: string, seq?: number}|null} where an address leads, until it has come */ #goal = null;
  #fresh = true;
  /** @type {Map<Zoom, number>} */ #tops = new Map();
  #shownConnection = '';

  constructor() {
    this.head = new Head({
      stop: () => this.#stop(),
      again: () => this.#again(),
      download: () => this.#download(),
      compare: () => this.#compare(),
    });
    this.bar = new Bar({
      zoom: (zoom) => this.zoom(zoom),
      error: (direction) => this.#error(direction),
      match: (direction) => this.#match(direction),
      search: (words) => this.#session && this.finder.seek(words, this.#session.model),
      closeAll: (closed) => this.#closeAll(closed),
      filter: (kinds) => this.#filter(kinds),
    });
    this.finder = new Finder(() => this.frames.ask());
    const load = (/** @type {number} */ seq) => /** @type {Session} */ (this.#session).stored.whole(seq);
    this.panel = new Panel({
      close: () => this.#closePanel(),
      showEvent: (seq) => this.#showEvent(seq),
      load,
      showStep: (id) => this.#showStep(id),
      link: (part, id) => this.#link(part, id),
    });
    this.views = {
      messages: new MessagesView((row) => this.#chooseRow(row), load),
      steps: new StepsView((id, how) => this.#chooseStep(id, how)),
      events: new EventsView((seq) => this.#chooseEvent(seq)),
    };
    this.frames = new Frames(() => this.#draw());
    this.holder = h('div', { id: 'zoom', className: 'holder', role: 'tabpanel' });
    this.proof = h('p', { id: 'proof' });
    const body = h('div', { className: 'run-body' }, this.holder, this.panel.element);
    this.element = h(
      'section',
      { id: 'run', className: 'run fill', ariaLabel: 'Run' },
      this.head.element,
      this.bar.element,
      body,
      this.proof,
    );
    this.element.addEventListener('scroll', () => this.#mark(), { capture: true, passive: true });
    this.#showZoom();
  }

  // ---- what the shell reads and calls

  get title() {
    const model = this.#session?.model;
    return model?.record ? `${model.state}: ${model.record.function}` : '';
  }

  get connection() {
    const { connection: state = 'idle', draining = false } = this.#session?.subscription ?? {};
    return { state, text: draining ? 'server restarting' : state };
  }

  get shortcuts() {
    return [
      ...ZOOMS.map((zoom) => ({
        keys: zoom[0],
        does: `${zoom[0].toUpperCase()}${zoom.slice(1)}`,
        act: () => this.zoom(zoom),
      })),
      { keys: 'n', does: 'Next error', act: () => this.#error(1) },
      { keys: 'p', does: 'Previous error', act: () => this.#error(-1) },
      {
        keys: '/',
        does: 'Search this run; Enter and Shift+Enter go through what was found',
        act: () => this.bar.search.select(),
      },
      { keys: '[', does: 'Collapse all steps', act: () => this.#closeAll(true) },
      { keys: ']', does: 'Expand all steps', act: () => this.#closeAll(false) },
      { keys: 'f', does: 'Follow the end', act: () => this.views[this.#zoom].follow.resume() },
      { keys: 'Escape', does: 'Close the details', act: () => this.#closePanel() },
    ];
  }

  /** @param {{id: string, rest?: string[]}} params */
  show({ id, rest = [] }) {
    if (id !== this.#session?.id) this.#open(id);
    const [part, name] = rest;
    if (part === 'step' && name) this.#goal = { zoom: 'steps', span: name };
    else if (part === 'event' && Number(name) > 0) this.#goal = { zoom: 'events', seq: Number(name) };
    if (this.#goal) this.zoom(this.#goal.zoom);
    this.frames.now(); // not for a moment what was shown before
  }

  hide() {
    this.#session?.close();
    this.#session = null;
  }

  /** @param {number} nowMs */
  tick(nowMs) {
    const { model } = this.#session ?? {};
    if (!model) return;
    this.#session?.tick();
    this.finder.refresh(model);
    if (!isLive(model.state)) return;
    this.head.tick(model, nowMs);
    if (this.#zoom === 'steps') this.views.steps.draw(model, nowMs);
    if (this.#zoom === 'messages') this.views.messages.tick(nowMs);
    this.panel.draw(model, nowMs);
    this.#proof();
  }

  /** @param {string} id */
  #open(id) {
    this.hide();
    this.#session = new Session(id, () => this.frames.ask());
    this.#at = { seq: 0, span: '' };
    this.#goal = null;
    this.#fresh = true;
    this.#tops.clear();
    this.panel.hide();
    this.views.steps.mark(null);
    this.finder.seek('', this.#session.model);
    this.bar.search.value = '';
    for (const view of Object.values(this.views)) view.follow.begin();
  }

  // ---- drawing

  #draw() {
    const session = this.#session;
    if (!session) return;
    session.take();
    const { model } = session;
    const nowMs = clock.now();
    if (this.#fresh && model.over) this.#dontFollow();
    this.head.draw(model, nowMs);
    this.#drawZoom(session, nowMs);
    this.#fresh &&= !model.fold.position;
    this.#reachGoal(model);
    this.panel.draw(model, nowMs);
    this.bar.showErrors(model.errors.length, model.errors.findIndex(({ seq }) => seq === this.#at.seq) + 1);
    this.bar.showMatches(
      this.finder.matches && this.finder.matches.length,
      this.finder.placeOf(this.#at.seq),
      this.finder.busy,
    );
    this.bar.showKinds(model.tree.kinds, model.tree.filter);
    this.finder.refresh(model);
    this.#mark();
    this.#proof();
    this.#tell();
  }

  // Who opens a run that has ended begins at its beginning.
  #dontFollow() {
    for (const view of Object.values(this.views)) view.follow.rest();
  }

  /** @param {Session} session @param {number} nowMs */
  #drawZoom({ model, stored }, nowMs) {
    if (this.#zoom === 'messages') this.views.messages.draw(model, nowMs, this.#fresh);
    else if (this.#zoom === 'steps') this.views.steps.draw(model, nowMs, this.#fresh);
    else this.views.events.draw(model, stored);
  }

  #mark() {
    this.finder.mark([this.holder, this.panel.element]);
  }

  #proof() {
    if (this.#session) put(this.proof, proof(this.#session.facts).join(' · '));
  }

  #tell() {
    const { state, text } = this.connection;
    const told = `${state} ${text} ${this.title}`;
    if (told !== this.#shownConnection) this.element.dispatchEvent(new Event('viewchange', { bubbles: true }));
    this.#shownConnection = told;
  }

  /** @param {import('./model.js').RunModel} model */
  #reachGoal(model) {
    const goal = this.#goal;
    if (!goal) return;
    if (goal.span !== undefined && (model.tree.nodes.has(goal.span) || model.fold.end)) this.#showStep(goal.span);
    else if (goal.seq && (model.fold.position >= goal.seq || model.fold.end)) this.#showEvent(goal.seq);
    else return;
    this.#goal = null;
  }

  // ---- zooms and places

  /** @param {Zoom} zoom */
  zoom(zoom) {
    if (zoom === this.#zoom) return;
    this.#tops.set(this.#zoom, this.views[this.#zoom].list.element.scrollTop);
    this.#zoom = zoom;
    this.#showZoom();
    const { model } = this.#session ?? {};
    if (!model) return;
    this.#drawZoom(/** @type {Session} */ (this.#session), clock.now());
    const view = this.views[zoom];
    if (!view.follow.following) view.list.element.scrollTop = this.#tops.get(zoom) ?? 0;
    if (this.#at.seq && !view.follow.following) this.#reveal(this.#at);
    this.frames.ask();
  }

  #showZoom() {
    this.bar.showZoom(this.#zoom);
    this.holder.setAttribute('aria-labelledby', `zoom-${this.#zoom}`);
    this.holder.replaceChildren(this.views[this.#zoom].element);
  }

  // Bring a place into sight, in the zoom that is shown.
  /** @param {Place} place */
  #reveal({ seq, span }) {
    if (this.#zoom === 'messages') this.views.messages.reveal(seq, span);
    else if (this.#zoom === 'steps') this.views.steps.reveal(span);
    else this.views.events.reveal(seq);
  }

  /** @param {Place} place */
  #go(place) {
    const model = this.#session?.model;
    if (!model) return;
    this.#at = { seq: place.seq, span: place.span };
    this.#reveal(place);
    if (this.#zoom === 'events') this.#openEvent(place.seq);
    else this.panel.showStep(place.span, model, clock.now());
    this.frames.ask();
  }

  /** @param {1|-1} direction */
  #error(direction) {
    const errors = this.#session?.model.errors ?? [];
    const index = nextOf(errors, this.#at.seq, direction);
    if (index >= 0) this.#go(errors[index]);
  }

  /** @param {1|-1} direction */
  #match(direction) {
    const match = this.finder.next(this.#at.seq, direction);
    if (match) this.#go(match);
  }

  // ---- choosing

  /** @param {import('./transcript.js').Row} row */
  #chooseRow({ seq, span }) {
    this.#at = { seq, span };
    this.#openStep(span);
  }

  /** @param {string} id @param {string} how */
  #chooseStep(id, how) {
    const model = this.#session?.model;
    this.#at = { seq: model?.fold.steps.get(id)?.seq ?? 1, span: id };
    if (how === 'key' && this.panel.element.hidden) return;
    this.#openStep(id);
    if (how === 'enter') this.panel.title.focus();
  }

  /** @param {string} id */
  #openStep(id) {
    const model = this.#session?.model;
    if (!model) return;
    this.panel.showStep(id, model, clock.now());
    if (this.#zoom === 'steps') this.views.steps.keepSeen(); // the details have taken room
    history.replaceState(null, '', this.#link('step', id));
  }

  /** @param {string} id */
  #showStep(id) {
    this.zoom('steps');
    this.#at = { seq: this.#session?.model.fold.steps.get(id)?.seq ?? 1, span: id };
    this.views.steps.reveal(id);
    this.#openStep(id);
  }

  /** @param {number} seq */
  #chooseEvent(seq) {
    this.#at = { seq, span: this.#session?.stored.at(seq)?.span ?? '' };
    this.#openEvent(seq);
  }

  /** @param {number} seq */
  #showEvent(seq) {
    this.zoom('events');
    this.views.events.reveal(seq);
    this.#chooseEvent(seq);
  }

  /** @param {number} seq */
  async #openEvent(seq) {
    const session = this.#session;
    if (!session) return;
    history.replaceState(null, '', this.#link('event', seq));
    const event = session.stored.at(seq);
    this.panel.showEvent(seq, event);
    if (event) return;
    const {
      events: [found],
    } = await session.stored.after(seq - 1).catch(() => ({ events: [] }));
    if (found && this.panel.seq === seq) this.panel.showEvent(seq, found);
  }

  #closePanel() {
    const back = this.panel.span;
    this.views.steps.mark(null);
    const had = this.panel.element.contains(document.activeElement);
    this.panel.hide();
    history.replaceState(null, '', this.#link('', ''));
    if (had && this.#zoom === 'steps' && back !== null) this.views.steps.reveal(back, true);
    this.frames.ask();
  }

  /** @param {string} part @param {string|number} id */
  #link(part, id) {
    const run = `#/runs/${encodeURIComponent(this.#session?.id ?? '')}`;
    return new URL(part && id !== '' ? `${run}/${part}/${encodeURIComponent(id)}` : run, location.href).href;
  }

  // ---- deeds

  /** @param {boolean} closed */
  #closeAll(closed) {
    this.#session?.model.tree.closeAll(closed);
    this.frames.now();
  }

  /** @param {string[]} kinds */
  #filter(kinds) {
    this.#session?.model.tree.filterBy(kinds);
    this.frames.now();
  }

  async #stop() {
    this.head.stop.disabled = true;
    await this.#session?.stop();
    this.head.stop.disabled = false;
  }

  async #again() {
    this.head.again.disabled = true;
    const session = this.#session;
    const id = await session?.again();
    this.head.again.disabled = false;
    if (id && session === this.#session) location.hash = `#/runs/${encodeURIComponent(id)}`;
  }

  async #download() {
    const session = this.#session;
    if (!session) return;
    const button = this.head.download;
    button.disabled = true;
    try {
      await download(session.id, session.model.record, session.stored, (seq) => put(button, `${count(seq)} events`));
    } catch (error) {
      session.model.receipt = `Not downloaded: ${sentence(/** @type {Error} */ (error))}`;
    }
    put(button, 'Download');
    button.disabled = false;
    this.frames.ask();
  }

  #compare() {
    const { id, model } = this.#session ?? {};
    if (id) chooseOther(client, id, model?.record?.function);
  }
}
