// A word about the connection, in a corner, while there is something to say. In a tree of its own, so that no style of an
// app's meets it; its sheet is made by script, which any Content-Security-Policy allows that allows the script.

/** Trouble that is over sooner is not worth a word. */
const PATIENCE_MS = 1_200;

/** How long a word stays that says that all is well again. */
const STAY_MS = 3_500;

/** @typedef {'quiet'|'reconnecting'|'offline'|'back'|'restored'} Word */

/** @type {Record<Exclude<Word, 'quiet'>, string>} */
const WORDS = {
  reconnecting: 'Reconnecting…',
  offline: 'Offline. Waiting for the network…',
  back: 'Connected again',
  restored: 'Restored',
};

const CSS = `
:host { all: initial; position: fixed; z-index: 2147483000; pointer-events: none;
  inset: auto max(.75rem, env(safe-area-inset-right)) max(.75rem, env(safe-area-inset-bottom)) auto; }
p { --ink: #1c2124; --ground: #fff; --line: #d5dad7; --tone: #8a5a00;
  display: flex; align-items: center; gap: .55em; margin: 0; padding: .42em .85em .42em .7em;
  max-width: min(24rem, calc(100vw - 1.5rem)); box-sizing: border-box;
  font: 500 13px/1.35 system-ui, sans-serif; color: var(--ink); background: var(--ground);
  border: 1px solid var(--line); border-radius: 1.6em; box-shadow: 0 2px 10px rgb(0 0 0 / .12);
  opacity: 0; visibility: hidden; transform: translateY(.4rem); transition: opacity .2s, transform .2s, visibility .2s; }
p.dark { --ink: #e4e7e6; --ground: #1b2022; --line: #3a444a; --tone: #dcae5a; box-shadow: 0 2px 10px rgb(0 0 0 / .5); }
p.shown { opacity: 1; visibility: visible; transform: none; }
p.well { --tone: #2d7044; }
p.well.dark { --tone: #7fc796; }
i { flex: none; width: .6em; height: .6em; border-radius: 50%; background: var(--tone); }
p:not(.well) i { animation: beat 1.4s ease-in-out infinite; }
@keyframes beat { 50% { opacity: .25; } }
@media (max-width: 30rem) { :host { left: 0; right: 0; } p { width: max-content; margin: 0 auto; } }
@media (prefers-reduced-motion: reduce) { p, p:not(.well) i { animation: none; transition: none; } }
@media (forced-colors: active) { p { border-color: CanvasText; } i { background: CanvasText; } }
@media print { p { display: none; } }
`;

/**
 * What is to be said after this.
 * @param {Word} said
 * @param {{troubled: boolean, online: boolean}} now `troubled`: somebody waits for a connection
 * @returns {Word}
 */
export function wordAfter(said, { troubled, online }) {
  if (troubled) return online ? 'reconnecting' : 'offline';
  if (said === 'reconnecting' || said === 'offline') return 'back';
  return said;
}

/** The badge, made when it has something to say for the first time. */
export class Badge {
  /** @type {Word} */ #said = 'quiet';
  /** @type {HTMLElement|null} */ #box = null;
  /** @type {Text|null} */ #text = null;
  /** @type {any} */ #timer = null;
  #troubled = false;

  /** @param {boolean} troubled */
  trouble(troubled) {
    if (troubled === this.#troubled) return;
    this.#troubled = troubled;
    clearTimeout(this.#timer);
    if (troubled) this.#timer = setTimeout(() => this.look(), PATIENCE_MS);
    else this.look();
  }

  /** The page was loaded again, and begins where it stood. */
  restored() {
    if (this.#said === 'quiet' && !this.#troubled) this.#say('restored');
  }

  /** The network has come or gone. */
  look() {
    const word = wordAfter(this.#said, { troubled: this.#troubled, online: navigator.onLine !== false });
    if (word !== this.#said) this.#say(word);
  }

  /** @param {Word} word */
  #say(word) {
    clearTimeout(this.#timer);
    this.#said = word;
    const well = word === 'back' || word === 'restored';
    if (word === 'quiet') this.#box?.classList.remove('shown');
    else this.#show(WORDS[word], well);
    if (well) this.#timer = setTimeout(() => this.#say('quiet'), STAY_MS);
  }

  /** @param {string} text @param {boolean} well */
  #show(text, well) {
    const box = (this.#box ??= this.#make());
    box.classList.toggle('dark', isDark());
    box.classList.toggle('well', well);
    // In the next frame: a status that comes with its text is not read out, nor one that is still hidden.
    requestAnimationFrame(() => {
      box.classList.add('shown');
      /** @type {Text} */ (this.#text).data = text;
    });
  }

  #make() {
    const host = document.createElement('penstock-connection');
    const root = host.attachShadow({ mode: 'open' });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
    root.adoptedStyleSheets = [sheet];
    const box = document.createElement('p');
    box.setAttribute('role', 'status');
    const dot = document.createElement('i');
    dot.setAttribute('aria-hidden', 'true');
    this.#text = document.createTextNode('');
    box.append(dot, this.#text);
    root.append(box);
    document.body.append(host);
    return box;
  }
}

/** Gradio's themes mark the page; without a mark the person's own wish counts. */
function isDark() {
  const ground = /^rgba?\((\d+), (\d+), (\d+)(?:, (0))?/.exec(getComputedStyle(document.body).backgroundColor);
  if (document.body.classList.contains('dark')) return true;
  if (ground && ground[4] === undefined) return Number(ground[1]) + Number(ground[2]) + Number(ground[3]) < 3 * 110;
  return matchMedia('(prefers-color-scheme: dark)').matches;
}
