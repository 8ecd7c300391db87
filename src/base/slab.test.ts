import { expect, it } from 'vitest'
import { Slab } from './slab.ts'

it('gives zeroed pieces at whole words that never overlap', () => {
  const slab = new Slab(256, 100)
  const pieces: Uint8Array[] = []
  for (let i = 0; i < 200; i++) {
    const piece = slab.take((i * 37) % 120)
    expect(piece.byteLength).toBe((i * 37) % 120)
    expect(piece.byteOffset % 8).toBe(0)
    expect(piece.every((byte) => byte === 0)).toBe(true)
    piece.fill((i % 255) + 1)
    pieces.push(piece)
  }
  for (const [i, piece] of pieces.entries()) {
    expect(piece.every((byte) => byte === (i % 255) + 1)).toBe(true)
  }
})

it('gives large pieces memory of their own', () => {
  const slab = new Slab(256, 100)
  expect(slab.take(101).buffer.byteLength).toBe(101)
  expect(slab.take(100).buffer.byteLength).toBe(256)
})
