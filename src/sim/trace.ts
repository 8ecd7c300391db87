// Owns what a run looked like: the last events as readable lines, and a running hash over all of
// them. Invariant: the hash depends on the seed alone, on every run and every version of Node; it is
// made by 32-bit integer arithmetic (the mixing steps of MurmurHash3) from times, names and lengths.

function rotl(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits))
}

function finalise(value: number): number {
  let h = value
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

export function hashText(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

interface Line {
  atUs: number
  who: string
  what: string
  detail: string | number
}

export class Trace {
  readonly #lines: Line[] = []
  readonly #lineCountMax: number
  readonly #hashes = new Map<string, number>()
  #next = 0
  #h1 = 0x2545f491
  #h2 = 0x1b873593

  constructor(lineCountMax: number) {
    this.#lineCountMax = lineCountMax
  }

  /** One number of what happened. */
  mix(value: number): void {
    const k = Math.imul(value, 0xcc9e2d51)
    this.#h1 = (Math.imul(rotl(this.#h1 ^ k, 13), 5) + 0xe6546b64) | 0
    this.#h2 = Math.imul(rotl(this.#h2 + value, 15), 0x1b873593) ^ this.#h1
  }

  /** The length and the first bytes of data that moved; frames carry the checksum of the rest there. */
  mixBytes(bytes: Uint8Array): void {
    this.mix(bytes.byteLength)
    const count = Math.min(bytes.byteLength, 48)
    let word = 0
    for (let i = 0; i < count; i++) {
      word = (word << 8) | (bytes[i] as number)
      if ((i & 3) === 3) this.mix(word)
    }
    this.mix(word)
  }

  /** An event: hashed, and kept as a line. `what` and `who` are few; `detail` may be anything. */
  record(atUs: number, who: string, what: string, detail: string | number = ''): void {
    this.mix(atUs % 0x1_0000_0000)
    this.mix(this.#hashOf(who) ^ rotl(this.#hashOf(what), 7))
    if (typeof detail === 'number') this.mix(detail)
    else if (detail !== '') this.mix(hashText(detail))
    const line = this.#lines[this.#next]
    if (line === undefined) this.#lines.push({ atUs, who, what, detail })
    else {
      line.atUs = atUs
      line.who = who
      line.what = what
      line.detail = detail
    }
    this.#next = this.#next + 1 === this.#lineCountMax ? 0 : this.#next + 1
  }

  #hashOf(text: string): number {
    const known = this.#hashes.get(text)
    if (known !== undefined) return known
    const hash = hashText(text)
    this.#hashes.set(text, hash)
    return hash
  }

  /** 16 hexadecimal digits. */
  hash(): string {
    const high = finalise(this.#h1)
    const low = finalise(this.#h2 ^ high)
    return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0')
  }

  /** The last events, oldest first: virtual seconds, host, what. */
  lines(): string[] {
    const count = this.#lines.length
    const first = count < this.#lineCountMax ? 0 : this.#next
    return Array.from({ length: count }, (_, i) => {
      const line = this.#lines[(first + i) % count] as Line
      const at = (line.atUs / 1_000_000).toFixed(6).padStart(12)
      return `${at}  ${line.who.padEnd(8)} ${line.what}${line.detail === '' ? '' : ` ${line.detail}`}`
    })
  }
}
