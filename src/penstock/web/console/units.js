// Numbers with their units, short enough for a chart.

/** @param {number} x @returns {string} in four characters or so */
export function short(x) {
  if (x >= 1e6) return `${(x / 1e6).toFixed(x < 1e7 ? 2 : 1)} M`;
  if (x >= 1e4) return `${(x / 1e3).toFixed(x < 1e5 ? 1 : 0)} k`;
  if (Number.isInteger(x) || x >= 100) return Math.round(x).toLocaleString('en');
  return x.toFixed(1);
}

/** @param {number} s seconds */
export function milliseconds(s) {
  if (s >= 1) return `${s.toFixed(1)} s`;
  return `${(s * 1000).toFixed(s < 0.01 ? 1 : 0)} ms`;
}

/** @param {number} x */
export function bytes(x) {
  if (x < 2 ** 10) return `${x} bytes`;
  if (x < 2 ** 20) return `${(x / 2 ** 10).toFixed(x < 10 * 2 ** 10 ? 1 : 0)} KiB`;
  if (x >= 2 ** 30) return `${(x / 2 ** 30).toFixed(x < 10 * 2 ** 30 ? 2 : 1)} GiB`;
  return `${(x / 2 ** 20).toFixed(x < 10 * 2 ** 20 ? 1 : 0)} MiB`;
}
