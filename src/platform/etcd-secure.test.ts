// An etcd that shows a certificate and asks for one, and one that asks for a user.

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Mirror } from '../../test/contract/metastore.ts'
import { HAS_ETCD, TestEtcd } from '../../test/harness/etcd.ts'
import type { MetaStore } from '../env/metastore.ts'
import type { EtcdConfig } from './etcd-config.ts'
import { EtcdStore } from './etcd-store.ts'

const HAS_OPENSSL = spawnSync('openssl', ['version']).status === 0
let directory = ''

beforeAll(() => {
  const scratch = join(import.meta.dirname, '../../.tmp')
  mkdirSync(scratch, { recursive: true })
  directory = mkdtempSync(join(scratch, 'etcd-secure-'))
})
afterAll(() => {
  rmSync(directory, { recursive: true })
})

const path = (name: string): string => join(directory, name)
const put = (store: MetaStore, key: string): Promise<number | null> =>
  store.commit([], [{ kind: 'put', key, value: '' }])

describe.skipIf(!HAS_ETCD || !HAS_OPENSSL)('an etcd with TLS', () => {
  /** A key and a certificate of 127.0.0.1, signed by the authority `by` or by itself. */
  function certificate(name: string, by: string | null): void {
    const own = [
      '-keyout',
      path(`${name}.key`),
      '-out',
      path(`${name}.crt`),
      '-subj',
      `/CN=${name}`,
    ]
    const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
    const signed =
      by === null
        ? ['-addext', 'basicConstraints=critical,CA:TRUE']
        : ['-CA', path(`${by}.crt`), '-CAkey', path(`${by}.key`)]
    const names = by === null ? [] : ['-addext', 'subjectAltName=IP:127.0.0.1']
    const args = ['req', '-x509', ...kind, ...own, ...signed, ...names, '-days', '30']
    execFileSync('openssl', args, { stdio: 'pipe' })
  }

  it('is reached by who has the right certificate, and by nobody else', async () => {
    certificate('authority', null)
    certificate('other', null)
    certificate('member', 'authority')
    certificate('client', 'authority')
    const etcd = await TestEtcd.start({
      tls: { ca: path('authority.crt'), cert: path('member.crt'), key: path('member.key') },
    })
    const own = { certificateFile: path('client.crt'), keyFile: path('client.key') }
    const config = { caFile: path('authority.crt'), ...own }
    const store = await EtcdStore.open(etcd.endpoints, config)
    expect(await put(store, 'a')).not.toBeNull()
    await store.close()
    const short = { callTimeoutMs: 1000 }
    const wrong = [{}, { caFile: path('authority.crt') }, { ...config, caFile: path('other.crt') }]
    for (const one of wrong) {
      const opening = EtcdStore.open(etcd.endpoints, { ...one, ...short })
      await expect(opening).rejects.toThrow(/DISCONNECTED|DEADLINE_EXCEEDED/)
    }
    const missing = EtcdStore.open(etcd.endpoints, { ...config, caFile: path('none') })
    await expect(missing).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await etcd.stop()
  })
})

type Ask = (what: string, body: object) => Promise<void>

/** A user of it who may do everything under the prefix, and what a store is told of him. */
async function withUser(etcd: TestEtcd): Promise<{ ask: Ask; config: Partial<EtcdConfig> }> {
  const ask: Ask = async (what, body) => {
    const url = `http://${etcd.members[0]?.ownEndpoint}/v3/auth/${what}`
    const answer = await fetch(url, { method: 'POST', body: JSON.stringify(body) })
    expect([what, answer.status]).toEqual([what, 200])
  }
  await ask('user/add', { name: 'root', password: 'r00t' })
  await ask('role/add', { name: 'root' })
  await ask('user/grant', { user: 'root', role: 'root' })
  await ask('user/add', { name: 'lemnis', password: 's3cret' })
  await ask('role/add', { name: 'keeper' })
  const base64 = (text: string): string => Buffer.from(text).toString('base64')
  const perm = { permType: 'READWRITE', key: base64('lemnis/'), range_end: base64('lemnis0') }
  await ask('role/grant', { name: 'keeper', perm })
  await ask('user/grant', { user: 'lemnis', role: 'keeper' })
  await ask('enable', {})
  writeFileSync(path('password'), 's3cret\n')
  return { ask, config: { user: 'lemnis', passwordFile: path('password') } }
}

describe.skipIf(!HAS_ETCD)('an etcd with users', () => {
  it('is used by who knows the password, also when etcd has forgotten the token', async () => {
    const etcd = await TestEtcd.start()
    const [member] = etcd.members
    const { config } = await withUser(etcd)
    writeFileSync(path('wrong'), 'guess\n')
    const store = await EtcdStore.open(etcd.endpoints, config)
    expect(await put(store, 'a')).not.toBeNull()
    const lease = await store.grantLease(60_000)
    const mirror = new Mirror(store, 'a', 'z')
    await mirror.until(({ starts }) => starts.length > 0)
    // Its tokens are in memory.
    await member?.kill()
    member?.start()
    await etcd.leader()
    await store.keepLease(lease)
    const revision = (await put(store, 'b')) as number
    await mirror.until(({ items }) => items.get('b')?.revision === revision)
    await store.close()
    for (const one of [{ ...config, passwordFile: path('wrong') }, {}]) {
      const opening = EtcdStore.open(etcd.endpoints, one)
      await expect(opening).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    }
    await etcd.stop()
  })

  it.skipIf(!HAS_OPENSSL)('is used on when others of its users have changed', async () => {
    const key = path('jwt.key')
    execFileSync('openssl', ['genrsa', '-out', key, '2048'], { stdio: 'pipe' })
    execFileSync('openssl', ['rsa', '-in', key, '-pubout', '-out', path('jwt.pub')], {
      stdio: 'pipe',
    })
    // These tokens say of which state of the users they are.
    const jwt = `jwt,pub-key=${path('jwt.pub')},priv-key=${key},sign-method=RS256,ttl=10m`
    const etcd = await TestEtcd.start({ flags: [`--auth-token=${jwt}`] })
    const { config } = await withUser(etcd)
    const store = await EtcdStore.open(etcd.endpoints, config)
    const lease = await store.grantLease(60_000)
    expect(await put(store, 'a')).not.toBeNull()
    const login = await fetch(`http://${etcd.members[0]?.ownEndpoint}/v3/auth/authenticate`, {
      method: 'POST',
      body: JSON.stringify({ name: 'root', password: 'r00t' }),
    })
    const { token } = (await login.json()) as { token: string }
    const added = await fetch(`http://${etcd.members[0]?.ownEndpoint}/v3/auth/user/add`, {
      method: 'POST',
      headers: { authorization: token },
      body: JSON.stringify({ name: 'somebody', password: 'else' }),
    })
    expect(added.status).toBe(200)
    expect(await put(store, 'b')).not.toBeNull()
    await store.keepLease(lease)
    expect((await store.range('a', 'z', 10)).map(({ key: name }) => name)).toEqual(['a', 'b'])
    await store.close()
    await etcd.stop()
  })
})
