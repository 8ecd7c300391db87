// Owns nothing: the public names of the volume client (docs/client.md), which keep their meaning.

export { LemnisError } from '../base/errors.ts'
export { type ConnectOptions, connect, LemnisClient, type OpenOptions } from './client.ts'
export type { BlockDevice, Extent } from './device.ts'
export type { Wait } from './requests.ts'
export type { Volume, VolumeStats } from './volume.ts'
export type { CreateOptions, RestoreOptions } from './volume-commands.ts'
