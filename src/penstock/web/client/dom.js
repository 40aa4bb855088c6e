// Elements, and words for numbers.

/**
 * An element.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} props properties; `data` is the dataset
 * @param {...(Node|string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, { data = {}, ...props } = {}, ...children) {
  const element = document.createElement(tag);
  Object.assign(element, props);
  Object.assign(element.dataset, data);
  element.append(...children);
  return element;
}

/** @param {string} className @param {string} text */
export const span = (className, text) => h('span', { className }, text);

/** @param {number} ms @returns {string} as a person says it */
export function duration(ms) {
  const s = Math.max(0, ms) / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

/** @param {number} x @returns {string} with its thousands apart */
export function number(x) {
  return Number.isInteger(x) ? x.toLocaleString('en') : String(x);
}

/**
 * Text into an element, only if it differs: an unchanged one is not announced again.
 * @param {Element} element @param {string} text
 */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
