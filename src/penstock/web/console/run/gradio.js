// What a Gradio event has put out, taken from the message that was recorded of it. Pure.

/** @typedef {{role: string, text: string}} Turn one message of a chat */

/**
 * @param {any} value of a `replace`
 * @returns {any[]|null} the outputs, in the order of their components; null where it is not of Gradio's
 */
export function outputsOf(value) {
  if (!/^process_(generating|streaming|completed)$/.test(value?.msg) || typeof value.output !== 'object') return null;
  const data = Array.isArray(value.output?.data) ? value.output.data : [];
  return data.map(plain);
}

/**
 * An update says more of its component than its value, which is what a person looks for.
 * @param {any} output
 */
const plain = (output) => (output?.__type__ === 'update' && 'value' in output ? output.value : output);

/** @param {any} output @returns {Turn[]|null} the messages of a chat; null where it is none */
export function chatOf(output) {
  const isChat = Array.isArray(output) && output.length > 0 && output.every(isTurn);
  return isChat ? output.map(({ role, content }) => ({ role, text: wordsOf(content) })) : null;
}

/** @param {any} turn */
const isTurn = (turn) => typeof turn?.role === 'string' && 'content' in turn;

/** @param {any} content text, parts of it, or something that is no text @returns {string} */
function wordsOf(content) {
  if (typeof content === 'string') return content;
  if (Array.isArray(content)) return content.map(wordsOf).join('\n');
  if (typeof content?.text === 'string') return content.text;
  return JSON.stringify(content) ?? '';
}
