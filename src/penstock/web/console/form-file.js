// The control of a file: chosen or dropped, uploaded at once, in pieces that go on after a cut and after a reload.

import { h, put, span } from '../client/dom.js';
import { noteOf } from './form-fields.js';
import { Remembered } from './remembered.js';
import { client, sentence } from './server.js';
import { bytes } from './units.js';
import { Upload } from './upload.js';

const uploads = new Remembered(`penstock.uploads ${client.base}`, () => localStorage);

/** @param {File} file @returns {string} what tells a file from another, as far as a page may know */
const printOf = ({ name, size, lastModified }) => `${name} ${size} ${lastModified}`;

/** @typedef {import('./form-value.js').Control} Control */

/** @implements {Control} */
export class FileControl {
  #upload = /** @type {Upload | null} */ (null);
  #id = '';

  /** @param {import('./form-fields.js').Field} field @param {string} id in the page */
  constructor(field, id) {
    this.field = field;
    this.input = h('input', { type: 'file', id, onchange: () => this.#chosen(this.input.files?.[0]) });
    this.input.addEventListener('click', () => {
      if (this.#upload?.state === 'failed') this.input.value = ''; // the same file again is a change, too
    });
    this.input.setAttribute('aria-describedby', `${id}-help ${id}-state ${id}-error`);
    this.bar = h('progress', { ariaLabel: `Upload of ${field.name || 'item'}`, max: 1, hidden: true });
    this.state = h('span', { id: `${id}-state`, className: 'help number' });
    this.cancel = h(
      'button',
      { type: 'button', className: 'plain', hidden: true, onclick: () => this.#drop() },
      'Cancel',
    );
    this.error = h('p', { id: `${id}-error`, className: 'error', role: 'alert' });
    const label = h('label', { htmlFor: id }, field.name || 'item', h('small', {}, noteOf(field)));
    const help = h('p', { id: `${id}-help`, className: 'help' }, field.description);
    const standing = h('div', { className: 'upload' }, this.bar, this.state, this.cancel);
    this.element = h(
      'div',
      { className: 'field', data: { kind: 'file' } },
      label,
      this.input,
      span('or', 'or drop it here'),
      standing,
      help,
      this.error,
    );
    this.#takeDrops();
  }

  get uploading() {
    return ['uploading', 'waiting'].includes(this.#upload?.state ?? '');
  }

  settled() {
    return this.#upload?.settled;
  }

  /** @returns {import('./form-value.js').Found} */
  read() {
    this.fail('');
    if (this.#upload?.state === 'failed') return this.#failed();
    const id = this.#upload ? this.#upload.id : this.#id;
    return id ? { value: id } : { absent: true };
  }

  /** @param {any} value */
  fill(value) {
    this.#upload?.cancel();
    this.#upload = null;
    this.#id = typeof value === 'string' ? value : '';
    this.input.value = '';
    this.fail('');
    this.#show();
    if (this.#id) this.#describe(this.#id);
  }

  find() {
    return this;
  }

  /** @param {string} message */
  fail(message) {
    this.error.textContent = message;
    if (message) this.input.ariaInvalid = 'true';
    else this.input.removeAttribute('aria-invalid');
  }

  focus() {
    this.input.focus();
  }

  parts() {
    return [];
  }

  // What an earlier input's file was, if it is still there.
  /** @param {string} id */
  async #describe(id) {
    const found = await client
      .call(`api/uploads/${encodeURIComponent(id)}`)
      .catch((error) => ({ gone: error.status === 404 }));
    if (id !== this.#id || this.#upload) return;
    if (found.gone) {
      this.#id = '';
      return put(this.state, 'The file of the last input is gone: choose it again.');
    }
    put(this.state, found.name ? `${found.name}, ${bytes(found.size)}, uploaded before` : `Uploaded before: ${id}`);
    this.cancel.hidden = false;
  }

  #takeDrops() {
    for (const name of ['dragenter', 'dragover', 'dragleave', 'drop']) {
      this.element.addEventListener(name, (event) => {
        event.preventDefault();
        this.element.classList.toggle('over', name === 'dragenter' || name === 'dragover');
      });
    }
    this.element.addEventListener('drop', (event) => {
      const { files } = /** @type {DragEvent} */ (event).dataTransfer ?? {};
      if (!files?.length) return;
      this.input.files = files;
      this.#chosen(files[0]);
    });
  }

  /** @param {File|undefined} file */
  #chosen(file) {
    if (!file) return;
    this.#upload?.cancel();
    this.fail('');
    const print = printOf(file);
    this.#upload = new Upload(file, {
      to: `${client.base}api/uploads`,
      at: uploads.get(print)?.url,
      began: (url) => uploads.put(print, { url }),
      change: () => this.#show(),
    });
    this.#show();
  }

  #drop() {
    if (this.#upload) uploads.forget(printOf(/** @type {File} */ (this.#upload.file)));
    this.fill(undefined);
    this.focus();
  }

  /** @returns {import('./form-value.js').Found} */
  #failed() {
    const error = /** @type {any} */ (this.#upload).error;
    this.fail(`Not uploaded: ${sentence(error)}`);
    return { failed: true };
  }

  #show() {
    const upload = this.#upload;
    this.bar.hidden = !this.uploading;
    this.cancel.hidden = !upload && !this.#id;
    put(this.cancel, this.uploading ? 'Cancel' : 'Remove');
    if (!upload) return put(this.state, this.#id && `Uploaded before: ${this.#id}`);
    const { size } = upload.file;
    this.bar.value = size ? upload.sent / size : 1;
    put(
      this.state,
      { ...WORDS, uploading: `${bytes(upload.sent)} of ${bytes(size)}`, done: `${bytes(size)} uploaded` }[upload.state],
    );
    if (upload.state === 'failed') this.#failed();
  }
}

const WORDS = { waiting: 'The network or the server is away; it goes on by itself.', failed: '', cancelled: '' };
