// What can be done to a run from a list of them.

import { client, sentence } from './server.js';

/** What a stop's receipt means. */
export const RECEIPTS = {
  requested: 'Stop requested: the worker has not seen it yet.',
  acknowledged: 'Stop acknowledged: the function is being stopped.',
  stopped: 'Stopped.',
};

/**
 * @typedef {object} Told what is said about it
 * @property {string} text
 * @property {string} [run] that it is about
 * @property {boolean} [bad]
 */

/**
 * Ask for a stop.
 * @param {any} run @returns {Promise<Told>} the receipt
 */
export async function stop(run) {
  try {
    const { cancel, state } = await client.cancel(run.run_id);
    return {
      text: cancel === 'stopped' && state !== 'cancelled' ? `It had ${state} before.` : RECEIPTS[cancel ?? 'requested'],
      run: run.run_id,
    };
  } catch (error) {
    return { text: `Not stopped: ${sentence(error)}`, run: run.run_id, bad: true };
  }
}

/**
 * Run it once more, with the same input, for the same session.
 * @param {any} run @returns {Promise<Told>}
 */
export async function runAgain(run) {
  try {
    const { function: name, input, session } = await client.call(`api/runs/${encodeURIComponent(run.run_id)}`);
    const { run_id: id } = await client.submit(name, input, session ? { session } : {});
    return { text: 'Submitted again with the same input:', run: id };
  } catch (error) {
    return { text: `Not submitted: ${sentence(error)}`, bad: true };
  }
}

/** @param {any} run that waits @param {number} priority minutes of head start @returns {Promise<Told>} */
export async function setPriority(run, priority) {
  try {
    await client.call(`api/runs/${encodeURIComponent(run.run_id)}/priority`, { priority });
    return { text: `Priority ${priority}:`, run: run.run_id };
  } catch (error) {
    return { text: `Its priority stays: ${sentence(error)}`, run: run.run_id, bad: true };
  }
}
