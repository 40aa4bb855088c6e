// Two runs side by side.
import { h } from '../../client/dom.js';
export class ComparePage { element = h('section', {}); show() {} hide() {} }
