// Owns what the commands about volumes in use do.

import { KIB } from '../../base/units.ts'
import {
  CREATE_VOLUME,
  DELETE_VOLUME,
  RENAME_VOLUME,
  RESIZE_VOLUME,
  RESTORE_VOLUME,
  SHOW_VOLUME,
} from '../../format/control/mds.ts'
import { allVolumes } from '../cli/pages.ts'
import type { Session } from '../cli/session.ts'
import { size } from '../cli/words.ts'
import { volumeFacts, volumeTable } from './volume-text.ts'

const STRIPE_UNIT_BYTES = 64 * KIB

interface CreateOptions {
  readonly size: number
  readonly stripeUnit?: number
  readonly stripeCount: number
  readonly iops: number
  readonly bps: number
  readonly pool?: string
}

export async function create(
  session: Session,
  name: string,
  options: CreateOptions,
): Promise<void> {
  const volume = await session.ask(CREATE_VOLUME, {
    name,
    sizeBytes: options.size,
    stripeUnitBytes: options.stripeCount > 1 ? (options.stripeUnit ?? STRIPE_UNIT_BYTES) : 0,
    stripeCount: options.stripeCount,
    iopsMax: options.iops,
    bytesPerSecondMax: options.bps,
    ...(options.pool === undefined ? {} : { pool: options.pool }),
  })
  session.io.result(volume, () => `${volume.name}: ${size(volume.sizeBytes)}, created.`)
}

export async function list(session: Session): Promise<void> {
  const volumes = await allVolumes(session, false)
  session.io.result(volumes, () => volumeTable(session.io, volumes))
}

export async function show(session: Session, name: string): Promise<void> {
  const volume = await session.ask(SHOW_VOLUME, { name })
  session.io.result(volume, () => volumeFacts(session.io, volume, session.env.clock.wallMs()))
}

export async function resize(
  session: Session,
  name: string,
  options: { size: number },
): Promise<void> {
  const volume = await session.ask(RESIZE_VOLUME, { name, sizeBytes: options.size })
  session.io.result(volume, () => `${volume.name}: ${size(volume.sizeBytes)} now.`)
}

export async function rename(session: Session, name: string, to: string): Promise<void> {
  const volume = await session.ask(RENAME_VOLUME, { name, to })
  session.io.result(volume, () => `${name} is called ${volume.name} now.`)
}

export async function remove(session: Session, name: string): Promise<void> {
  const volume = await session.ask(DELETE_VOLUME, { name })
  const until = new Date(volume.expiresMs ?? 0).toISOString().slice(0, 16).replace('T', ' ')
  session.io.result(
    volume,
    () => `${name} is in the recycle bin until ${until} UTC; \`lemnis volume restore ${name}\`.`,
  )
}

interface RestoreOptions {
  readonly id?: number
  readonly to?: string
}

export async function restore(
  session: Session,
  name: string,
  options: RestoreOptions,
): Promise<void> {
  const volume = await session.ask(RESTORE_VOLUME, { name, ...options })
  session.io.result(volume, () => `${volume.name} is back, ${size(volume.sizeBytes)}.`)
}
