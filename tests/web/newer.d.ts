// What browsers have and the types of Debian's TypeScript (4.8) have not yet.

interface ARIAMixin {
  ariaInvalid: string | null;
}

interface Array<T> {
  findLast(wanted: (item: T, index: number) => unknown): T | undefined;
  findLastIndex(wanted: (item: T, index: number) => unknown): number;
}
