// Owns small files that are written and read as a whole.

import type { Disk } from '../env/disk.ts'

export async function writeWhole(disk: Disk, path: string, bytes: Uint8Array): Promise<void> {
  const file = await disk.open(path, { create: true })
  try {
    await file.truncate(0)
    await file.write(bytes, 0)
  } finally {
    await file.close()
  }
}

export async function syncWhole(disk: Disk, path: string): Promise<void> {
  const file = await disk.open(path)
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

export async function readWhole(disk: Disk, path: string): Promise<Uint8Array> {
  const file = await disk.open(path)
  try {
    const bytes = new Uint8Array(await file.sizeBytes())
    const count = await file.read(bytes, 0)
    return bytes.subarray(0, count)
  } finally {
    await file.close()
  }
}
