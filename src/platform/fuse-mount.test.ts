import { describe, expect, it } from 'vitest'
import { parseMount } from './fuse-mount.ts'

describe('a line of mountinfo', () => {
  it('gives mount point, type and device, with optional fields or without', () => {
    const plain = '36 35 98:0 /mnt1 /mnt2 rw,noatime - ext3 /dev/root rw,errors=continue'
    expect(parseMount(plain)).toEqual({ mountPoint: '/mnt2', type: 'ext3', device: '98:0' })
    const shared = '61 29 0:39 / /run/a rw,nosuid shared:1 master:2 - fuse.lemnis lemnis rw'
    expect(parseMount(shared)).toEqual({
      mountPoint: '/run/a',
      type: 'fuse.lemnis',
      device: '0:39',
    })
  })

  it('has blanks in paths written in octal', () => {
    const line = '61 29 7:0 / /mnt/a\\040b\\134c rw - ext4 /dev/loop0 rw'
    expect(parseMount(line)?.mountPoint).toBe('/mnt/a b\\c')
  })

  it('is nothing when it is empty', () => {
    expect(parseMount('')).toBeNull()
  })
})
