// A line over the last minutes, drawn by hand. The sums are pure.

import { h, put, span } from '../client/dom.js';

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 300,
  HEIGHT = 64; // of the drawing's own units; it is stretched to its place

const NEAR = 0.2; // of a bound: from there on it is drawn

/**
 * The least number of the row 1, 2, 5, 10, 20, … that is not below.
 * @param {number} x @param {number} [unit] in which the row counts
 * @returns {number}
 */
export function roundUp(x, unit = 1) {
  if (!(x > 0)) return unit;
  const power = 10 ** Math.floor(Math.log10(x / unit));
  return unit * power * ([1, 2, 5].find((step) => step * power * unit >= x * (1 - 1e-9)) ?? 10);
}

/**
 * Pieces of a line: a gap where nothing is known.
 * @param {{atMs: number, value: number|null}[]} points in order
 * @param {{fromMs: number, toMs: number, top: number, gapMs: number}} frame what is drawn; a longer pause is a gap
 * @returns {[number, number][][]} in the drawing's units
 */
export function linesOf(points, { fromMs, toMs, top, gapMs }) {
  /** @type {[number, number][][]} */ const lines = [];
  let last = -Infinity;
  for (const { atMs, value } of points) {
    if (value === null || !Number.isFinite(value) || atMs < fromMs) continue;
    if (atMs - last > gapMs) lines.push([]);
    last = atMs;
    const x = (WIDTH * (atMs - fromMs)) / (toMs - fromMs);
    lines.at(-1)?.push([x, HEIGHT - (HEIGHT * Math.min(value, top)) / top]);
  }
  return lines;
}

/** @param {[number, number][]} line @returns {string} of an SVG path */
const path = (line) => line.map(([x, y], index) => `${index ? 'L' : 'M'}${x.toFixed(1)},${y.toFixed(1)}`).join('');

/** One chart, with its latest value in words. */
export class ChartView {
  /** @param {import('./health-figures.js').Chart} chart @param {{spanMs: number, gapMs: number}} time */
  constructor(chart, time) {
    this.chart = chart;
    this.time = time;
    this.value = span('value number', '–');
    this.top = span('top number', '');
    this.drawing = shape('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' });
    const [area, line, limit] = ['area', 'line', 'limit'].map((name) => shape('path', { class: name }));
    this.area = area;
    this.line = line;
    this.limit = limit;
    this.drawing.append(area, line, limit);
    this.help = span('help', chart.help);
    const head = h('figcaption', {}, h('h2', {}, chart.name), this.value, this.help);
    this.element = h('figure', { className: 'chart' }, head, h('div', { className: 'plot' }, this.drawing, this.top));
  }

  /** @param {import('./health-figures.js').Figures[]} history in order @param {number} nowMs */
  show(history, nowMs) {
    const { key, words, limit, unit } = this.chart;
    const points = history.map(({ atMs, values }) => ({ atMs, value: values[key] }));
    const known = points.map(({ value }) => value).flatMap((value) => (value === null ? [] : [value]));
    const bound = (limit && history.at(-1)?.values[limit]) || 0;
    const peak = Math.max(...known, 0);
    const most = peak > NEAR * bound ? bound : 0; // a bound that is far away would press the line flat
    const top = roundUp(Math.max(peak, most), unit);
    const frame = { fromMs: nowMs - this.time.spanMs, toMs: nowMs, top, gapMs: this.time.gapMs };
    const lines = linesOf(points, frame);
    this.line.setAttribute('d', lines.map(path).join(''));
    this.area.setAttribute('d', lines.map((line) => `${path(line)}V${HEIGHT}H${line[0][0].toFixed(1)}Z`).join(''));
    this.limit.setAttribute(
      'd',
      most
        ? path([
            [0, HEIGHT - (HEIGHT * most) / top],
            [WIDTH, HEIGHT - (HEIGHT * most) / top],
          ])
        : '',
    );
    const latest = points.at(-1)?.value ?? null;
    put(this.value, latest === null ? '–' : words(latest));
    put(this.top, known.length ? words(top) : '');
    if (bound) put(this.help, `${this.chart.help}: ${words(bound)}`);
    const before = known.length ? `, at most ${words(peak)} in the last two minutes` : '';
    this.drawing.setAttribute('aria-label', `${this.chart.name}: ${this.value.textContent}${before}`);
  }
}

/** @param {string} tag @param {any} attributes */
function shape(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
