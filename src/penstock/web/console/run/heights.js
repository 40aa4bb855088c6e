// Heights of many rows, of which few were measured: where each begins, and which is at a place. No DOM.

/** Sums of a row of numbers that change, in logarithmic time: a Fenwick tree. */
export class Heights {
  #sums = new Float64Array(1024);
  #own = new Float64Array(1024);
  length = 0;

  clear() {
    this.length = 0;
  }

  /** @param {number} height of one more row, at the end */
  push(height) {
    if (this.length + 1 >= this.#sums.length) this.#grow();
    const at = (this.length += 1);
    this.#own[at] = height;
    let sum = height; // what the tree's node at this place stands for: itself, and the whole nodes just before it
    for (let size = 1; size < (at & -at); size *= 2) sum += this.#sums[at - size];
    this.#sums[at] = sum;
  }

  #grow() {
    this.#sums = doubled(this.#sums);
    this.#own = doubled(this.#own);
  }

  /** @param {number} index @returns {number} */
  of(index) {
    return this.#own[index + 1];
  }

  /** @param {number} index @param {number} height @returns {number} by how much it has changed */
  set(index, height) {
    const by = height - this.#own[index + 1];
    if (by === 0) return 0;
    this.#own[index + 1] = height;
    for (let at = index + 1; at <= this.length; at += at & -at) this.#sums[at] += by;
    return by;
  }

  /** @param {number} index @returns {number} the sum of all before it; of all, for `length` */
  before(index) {
    let sum = 0;
    for (let at = index; at > 0; at -= at & -at) sum += this.#sums[at];
    return sum;
  }

  /** @param {number} place @returns {number} the row that is there; the last where there is none so far down */
  at(place) {
    let at = 0;
    let rest = place;
    for (let size = 2 ** Math.floor(Math.log2(Math.max(1, this.length))); size >= 1; size /= 2) {
      if (at + size > this.length || this.#sums[at + size] > rest) continue;
      at += size;
      rest -= this.#sums[at];
    }
    return Math.max(0, Math.min(at, this.length - 1));
  }
}

/** @param {Float64Array} row */
function doubled(row) {
  const larger = new Float64Array(row.length * 2);
  larger.set(row);
  return larger;
}
