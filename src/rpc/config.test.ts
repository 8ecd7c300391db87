import { expect, it } from 'vitest'
import { readConfig } from '../base/config.ts'
import { MIB } from '../base/units.ts'
import { RPC_CONFIG, rpcConfig } from './config.ts'

it('has defaults that hold together', () => {
  expect(rpcConfig()).toEqual(readConfig(RPC_CONFIG, {}))
})

it('refuses settings that cannot work together, with the reason', () => {
  expect(() => rpcConfig({ peerSilenceMs: 2000, keepAliveIntervalMs: 1000 })).toThrow(
    /three keepAlive/,
  )
  expect(() => rpcConfig({ backoffMinMs: 0 })).toThrow(/backoffMinMs/)
  expect(() => rpcConfig({ backoffMinMs: 20, backoffMaxMs: 10 })).toThrow(/backoffMinMs/)
  expect(() => rpcConfig({ payloadBytesMax: 64 * MIB })).toThrow(/connectionInflightBytesMax/)
  expect(() => rpcConfig({ serverInflightBytesMax: MIB })).toThrow(/serverInflightBytesMax/)
  expect(() => rpcConfig({ clientQueuedBytesMax: MIB })).toThrow(/clientQueuedBytesMax/)
})
