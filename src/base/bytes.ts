// Owns the few things done to byte arrays everywhere. A Uint8Array is borrowed unless a comment says
// otherwise: whoever keeps one beyond the call copies it.

import { assert } from './assert.ts'

export const EMPTY: Uint8Array = new Uint8Array(0)

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  let total = 0
  for (const part of parts) total += part.byteLength
  const out = new Uint8Array(total)
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.byteLength
  }
  return out
}

/** As concat() of the two, but without a copy where they lie behind each other in one memory. */
export function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const isAdjacent = a.buffer === b.buffer && a.byteOffset + a.byteLength === b.byteOffset
  if (!isAdjacent) return concat([a, b])
  return new Uint8Array(a.buffer, a.byteOffset, a.byteLength + b.byteLength)
}

export function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.byteLength !== b.byteLength) return false
  for (let i = 0; i < a.byteLength; i++) if (a[i] !== b[i]) return false
  return true
}

export function hexOf(bytes: Uint8Array): string {
  let out = ''
  for (const byte of bytes) out += byte.toString(16).padStart(2, '0')
  return out
}

/** White space between digits is skipped; anything else that is no hex byte is a bug. */
export function bytesOfHex(hex: string): Uint8Array {
  const digits = hex.replace(/\s+/g, '')
  assert(/^([0-9a-f]{2})*$/i.test(digits), `not hex: ${hex}`)
  const out = new Uint8Array(digits.length / 2)
  for (let i = 0; i < out.length; i++) out[i] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16)
  return out
}

/** `bytes` rounded up to a multiple of `unit`. */
export function roundUp(bytes: number, unit: number): number {
  return Math.ceil(bytes / unit) * unit
}
