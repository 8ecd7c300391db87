// Owns how a proof with real processes reports: a line for each thing shown, and an end at the first that
// is wrong; and bytes that tell their place, so that a block in the wrong place is seen.

export function check(isSo: boolean, what: string): asserts isSo {
  if (!isSo) throw new Error(what)
}

export function say(line: string): void {
  console.log(line)
}

/** Different in every word, for every seed. */
export function pattern(seed: number, length: number): Uint8Array {
  const words = new Uint32Array(length / 4)
  for (let i = 0; i < words.length; i++)
    words[i] = Math.imul(i + 1, 0x9e37_79b1) ^ Math.imul(seed, 0x85eb_ca6b)
  return new Uint8Array(words.buffer)
}

export function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}

export function mib(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`
}
