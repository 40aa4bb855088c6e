// What somebody has typed and not sent: read from the page as it is typed, since nothing else tells.

/**
 * @typedef {import('./config.js').Component} Component
 * @typedef {HTMLInputElement|HTMLTextAreaElement} Field
 * @typedef {(field: Field, component: Component, root: Element) => any} Read undefined: nothing to tell
 */

/** @param {Field} field */
const number = (field) => (field.value === '' || Number.isNaN(Number(field.value)) ? undefined : Number(field.value));

/** @param {Field} field */
const isChecked = (field) => /** @type {HTMLInputElement} */ (field).checked;

/** @type {Record<string, Read>} component type to how its value is read */
const READ = {
  textbox: (field) => field.value,
  multimodaltextbox: (field, { props }) => ({ files: [], ...props.value, text: field.value }),
  number,
  slider: number,
  checkbox: isChecked,
  radio: (field, component) => (isChecked(field) ? choiceOf(component, field.value) : undefined),
  checkboxgroup: (_, component, root) =>
    [...root.querySelectorAll('input[type=checkbox]')]
      .filter((one) => /** @type {HTMLInputElement} */ (one).checked)
      .map((one) => choiceOf(component, /** @type {HTMLInputElement} */ (one).name))
      .filter((value) => value !== undefined),
  dropdown: (field, component) => (component.props.multiselect ? undefined : choiceOf(component, field.value)),
};

/**
 * The value of a choice, by what the page has for it: its name or its value, as text.
 * @param {Component} component
 * @param {string} text
 */
function choiceOf({ props }, text) {
  const choices = Array.isArray(props.choices) ? props.choices : [];
  const found = choices.find(([, value]) => String(value) === text) ?? choices.find(([name]) => String(name) === text);
  return found?.[1];
}

/** @type {(element: Element|null) => Element|null} the nearest that has a name */
const ownerOf = (element) => element?.closest('[id]') ?? null;

/** Tells what is typed into a page. */
export class Inputs {
  /** @type {Map<string, Component>} by the id of its element */ #components = new Map();

  /** @param {(id: number, value: any) => void} typed */
  constructor(typed) {
    this.typed = typed;
  }

  /** @param {Iterable<Component>} components those whose values may be kept, by the names that their elements have */
  know(components) {
    for (const one of components) this.#components.set(one.props.elem_id, one);
  }

  /** @param {EventTarget} page */
  listen(page) {
    for (const name of ['input', 'change', 'focusout'])
      page.addEventListener(name, (event) => this.#heard(event), true);
  }

  /** @param {Event} event */
  #heard({ target }) {
    if (!(target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement)) return;
    if (target.type === 'password' || target.type === 'file') return;
    // Gradio's own listeners come first: a choice from a list is written into its field by them.
    setTimeout(() => this.#read(target), 0);
  }

  /** @param {Field} field */
  #read(field) {
    for (let root = ownerOf(field); root; root = ownerOf(/** @type {Element} */ (root).parentElement)) {
      const component = this.#components.get(root.id);
      if (!component) continue;
      const value = READ[component.type]?.(field, component, root);
      if (value !== undefined) this.typed(component.id, value);
      return;
    }
  }
}
