// How <penstock-run> looks. A sheet made by script is allowed under any Content-Security-Policy that allows the
// script, and all elements of a page share the one.

const CSS = `
:host {
  --ink: var(--penstock-ink, #1c2124);
  --soft: var(--penstock-soft, #5c666b);
  --line: var(--penstock-line, #dfe2df);
  --raised: var(--penstock-raised, #f4f5f2);
  --accent: var(--penstock-accent, #0c6a74);
  --good: var(--penstock-good, #2d7044);
  --bad: var(--penstock-bad, #a8322b);
  --warn: var(--penstock-warn, #8a5a00);
  --mono: var(--penstock-mono, ui-monospace, "SF Mono", "Cascadia Code", Menlo, Consolas, monospace);
  display: block;
  color: var(--ink);
  font: var(--penstock-font, 1rem/1.55 system-ui, sans-serif);
  overflow-wrap: anywhere;
}
@supports (color: light-dark(#000, #fff)) {
  :host {
    --ink: var(--penstock-ink, light-dark(#1c2124, #e4e7e6));
    --soft: var(--penstock-soft, light-dark(#5c666b, #98a3a7));
    --line: var(--penstock-line, light-dark(#dfe2df, #2c3437));
    --raised: var(--penstock-raised, light-dark(#f4f5f2, #1b2022));
    --accent: var(--penstock-accent, light-dark(#0c6a74, #6cc5cc));
    --good: var(--penstock-good, light-dark(#2d7044, #7fc796));
    --bad: var(--penstock-bad, light-dark(#a8322b, #f0918a));
    --warn: var(--penstock-warn, light-dark(#8a5a00, #dcae5a));
  }
}
:host([hidden]), [hidden] { display: none !important; }
*, ::before, ::after { box-sizing: border-box; }
p, ol, ul, pre { margin: 0; padding: 0; font: inherit; }
ol, ul { list-style: none; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
.run { display: grid; grid-template-columns: minmax(0, 1fr); gap: .6em; }
.head { display: flex; flex-wrap: wrap; align-items: baseline; gap: .15em .75em; }
.name { font-weight: 600; }
.state { color: var(--tone, var(--soft)); font-size: .875em; }
.clock, .time, .kind, .proof, .label, .hint { color: var(--soft); font-size: .8125em; }
.clock, .time, .proof, .progress { font-variant-numeric: tabular-nums; }
.stop {
  margin-left: auto; font: inherit; font-size: .875em; padding: .2em .85em; cursor: pointer;
  color: inherit; background: none; border: 1px solid var(--line); border-radius: var(--penstock-radius, 5px);
}
.stop:hover { border-color: var(--soft); }
.stop:disabled { opacity: .5; cursor: default; }
[data-state=succeeded] { --tone: var(--good); }
[data-state=failed], [data-state=interrupted] { --tone: var(--bad); }
[data-state=running] { --tone: var(--accent); }
[data-state=queued], [data-state=cancelled] { --tone: var(--warn); }

/* A column that grows upwards stays at its end by itself, until somebody scrolls up in it. */
.scroller {
  display: flex; flex-direction: column-reverse; overflow: auto; max-height: var(--penstock-max-height, none);
}
.content { display: grid; grid-template-columns: minmax(0, 1fr); gap: .6em; }
.content > :empty, .name:empty, .notices:empty, .outcome:empty { display: none; }
.progress { display: flex; align-items: center; gap: .75em; color: var(--soft); font-size: .8125em; }
progress {
  flex: 1; min-width: 3em; height: .4em; appearance: none; border: 0; border-radius: 1em; overflow: hidden;
  background: var(--line); accent-color: var(--accent);
}
progress::-webkit-progress-bar { background: var(--line); }
progress::-webkit-progress-value { background: var(--accent); transition: width .2s; }
progress::-moz-progress-bar { background: var(--accent); }
.steps .steps { padding-left: 1.5em; }
.step { padding: .12em 0; }
.line { display: flex; align-items: baseline; gap: .6em; font-size: .9375em; }
.line .time { margin-left: auto; white-space: nowrap; }
.mark { flex: none; width: 1em; text-align: center; }
.mark::before { content: "✓"; color: var(--good); }
[data-step=failed] > .line .mark::before { content: "✕"; color: var(--bad); }
[data-step=unfinished] > .line .mark::before { content: "–"; color: var(--soft); }
[data-step=pending] > .line .mark::before {
  content: ""; display: inline-block; width: .7em; height: .7em; border-radius: 50%;
  border: 2px solid var(--line); border-top-color: var(--accent); animation: turn .9s linear infinite;
}
@keyframes turn { to { rotate: 1turn; } }
.step > .text, .step > .problem { margin-left: 1.6em; font-size: .9375em; }
.text { white-space: pre-wrap; max-width: var(--penstock-measure, 44em); }
.text[data-cut]::before { content: attr(data-cut); display: block; color: var(--soft); font-size: .8125em; }
.text a { color: var(--accent); text-underline-offset: .18em; }
.text .cite { color: var(--accent); font-size: .78em; font-weight: 600; vertical-align: .25em; line-height: 1; }
code, pre { font-family: var(--mono); font-size: .86em; }
.text code:not(.fence) { color: var(--accent); }
pre {
  padding: .6em .85em; max-height: 20em; overflow: auto; white-space: pre-wrap;
  background: var(--raised); border-radius: var(--penstock-radius, 5px);
}
.values, .latest, .outcome { display: grid; grid-template-columns: minmax(0, 1fr); gap: .4em; }
.logs { font-size: .8125em; }
.level { color: var(--warn); }
[data-bad] .level { color: var(--bad); }
.notices li { padding-left: .75em; border-left: 2px solid var(--warn); font-size: .875em; }
.problem { padding-left: .75em; border-left: 2px solid var(--bad); }
.problem .message { color: var(--bad); }
.proof { border-top: 1px solid var(--line); padding-top: .4em; font-family: var(--mono); font-size: .75em; }
.sr { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (prefers-reduced-motion: reduce) {
  *, ::before, ::after { animation: none !important; transition: none !important; }
  [data-step=pending] > .line .mark::before { border-color: var(--accent); }
}
`;

/** @type {CSSStyleSheet | undefined} */
let sheet;

/** @returns {CSSStyleSheet} the one sheet, made when first asked for */
export function styleSheet() {
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
  }
  return sheet;
}
