// The one server of this page.

import { Client } from '../client/index.js';

export { clock } from '../client/api.js';

export const client = new Client();

/** @param {any} error @returns {string} what happened and what helps, for a person */
export function sentence({ message, hint }) {
  return [message, hint].filter(Boolean).join(' ');
}
