// A watch on an etcd that is played by a gRPC server: answers that a real one gives only at sizes that no
// test has.

import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { SILENT } from '../observe/observe.ts'
import { etcdConfig } from './etcd-config.ts'
import { EtcdKeys } from './etcd-keys.ts'
import { EtcdMembers } from './etcd-members.ts'
import { WATCH } from './etcd-schema.ts'
import { EtcdWatch } from './etcd-watch.ts'
import { decodeMessage, encodeMessage, type Given, type Message } from './protobuf.ts'

type Answer = Given<typeof WATCH.answer>
type Stream = ServerDuplexStream<Message<typeof WATCH.request>, Answer>

/** Says `answers` to whoever watches; its address. */
async function playEtcd(answers: readonly Answer[]): Promise<{ address: string; server: Server }> {
  const server = new Server({ 'grpc.max_send_message_length': -1 })
  const watch = {
    path: WATCH.path,
    requestStream: true,
    responseStream: true,
    requestDeserialize: (bytes: Buffer) => decodeMessage(WATCH.request, bytes),
    requestSerialize: (one: Given<typeof WATCH.request>) =>
      Buffer.from(encodeMessage(WATCH.request, one)),
    responseSerialize: (one: Answer) => Buffer.from(encodeMessage(WATCH.answer, one)),
    responseDeserialize: (bytes: Buffer) => decodeMessage(WATCH.answer, bytes),
  }
  server.addService(
    { watch },
    {
      watch: (stream: Stream) => {
        stream.once('data', () => {
          for (const answer of answers) stream.write(answer)
        })
      },
    },
  )
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    )
  })
  return { address: `127.0.0.1:${port}`, server }
}

describe('a watch', () => {
  it('takes answers of any number of changes', async () => {
    const config = etcdConfig()
    const keys = new EtcdKeys(config.prefix)
    const removals = (revision: number, count: number): NonNullable<Answer['events']> =>
      Array.from({ length: count }, (_, i) => ({
        type: 1,
        item: { key: keys.bytesOf(`k${i}`), modRevision: revision },
      }))
    // After a pause etcd tells what a thousand commits have changed in one answer, of up to 32 MiB.
    const { address, server } = await playEtcd([
      { header: { revision: 1 }, isCreated: true },
      {
        header: { revision: 3 },
        events: [...removals(2, 100_000), ...removals(3, 100_000)],
      },
    ])
    const members = new EtcdMembers([address], config, SILENT)
    const told: [number, number][] = []
    await new Promise<void>((resolve) => {
      const watch = new EtcdWatch(
        members,
        keys,
        config,
        { from: 'a', to: 'z' },
        {
          onStarted: () => {},
          onChanges: (changes, revision) => {
            told.push([revision, changes.length])
            if (revision < 3) return
            watch.close()
            resolve()
          },
        },
        () => {},
      )
    })
    expect(told).toEqual([
      [2, 100_000],
      [3, 100_000],
    ])
    members.close()
    server.forceShutdown()
  })
})
