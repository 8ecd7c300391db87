import { afterEach, describe, expect, it } from 'vitest'
import { type Health, HttpServer } from './http.ts'
import { Metrics } from './metrics.ts'

const servers: HttpServer[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close()
})

async function listen(health: Health): Promise<string> {
  const metrics = new Metrics()
  metrics.counter('rpc_frames_sent_total').add(7)
  const server = await HttpServer.listen('127.0.0.1:0', {
    role: 'chunkserver',
    metrics,
    health: () => health,
    ready: () => ({ ok: true, reasons: [] }),
    waits: () => [{ what: 'write of volume 3', waitsFor: 'a quorum', lastsMs: 1200 }],
    config: () => ({ directory: '/data', settings: { segmentBytes: '16MiB' } }),
    looks: { store: () => Promise.resolve({ freeBytes: 7 }) },
  })
  servers.push(server)
  return server.address
}

const WELL = { ok: true, reasons: [] }

describe('HttpServer', () => {
  it('gives the metrics as Prometheus reads them', async () => {
    const reply = await fetch(`http://${await listen(WELL)}/metrics`)
    expect(reply.headers.get('content-type')).toContain('text/plain')
    expect(await reply.text()).toContain('\nlemnis_rpc_frames_sent_total 7\n')
  })

  it('answers 200 while well and 503 with the reasons when not', async () => {
    const well = await fetch(`http://${await listen(WELL)}/healthz`)
    const now = { role: 'chunkserver', wallMs: expect.any(Number) as number }
    expect([well.status, await well.json()]).toEqual([200, { ...now, ...WELL }])
    const ill = await fetch(`http://${await listen({ ok: false, reasons: ['No.'] })}/healthz`)
    expect([ill.status, await ill.json()]).toEqual([503, { ...now, ok: false, reasons: ['No.'] }])
  })

  it('shows what waits and how it is set', async () => {
    const address = await listen(WELL)
    const waits = await (await fetch(`http://${address}/debug/waits`)).json()
    expect(waits).toEqual({
      role: 'chunkserver',
      waits: [{ what: 'write of volume 3', waitsFor: 'a quorum', lastsMs: 1200 }],
    })
    const config = await (await fetch(`http://${address}/debug/config`)).json()
    const store = await (await fetch(`http://${address}/debug/store`)).json()
    expect(store).toEqual({ role: 'chunkserver', freeBytes: 7 })
    expect(config).toMatchObject({ directory: '/data', settings: { segmentBytes: '16MiB' } })
  })

  it('says which address is taken', async () => {
    const address = await listen(WELL)
    const source = { role: 'mds', metrics: new Metrics(), health: () => WELL, ready: () => WELL }
    const again = HttpServer.listen(address, { ...source, waits: () => [], config: () => ({}) })
    await expect(again).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      detail: { address, errno: 'EADDRINUSE' },
    })
  })

  it('does not take a unix socket or nonsense for an address', async () => {
    const source = { role: 'mds', metrics: new Metrics(), health: () => WELL, ready: () => WELL }
    for (const address of ['unix:/tmp/x', 'nonsense']) {
      const made = HttpServer.listen(address, { ...source, waits: () => [], config: () => ({}) })
      await expect(made).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    }
  })
})
