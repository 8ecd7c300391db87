// Owns the HTTP port of a role: metrics for Prometheus, health for whoever restarts or routes, and what
// a person wants to see when something is slow. Read only; it changes nothing and decides nothing.
// It knows no role: each hands in functions that answer.

import { type FastifyInstance, type FastifyReply, fastify } from 'fastify'
import { LemnisError } from '../base/errors.ts'
import type { Metrics } from './metrics.ts'
import { parseAddress } from './network.ts'

/** A wait that is longer than a second. */
export interface Wait {
  /** What waits, and whose it is. */
  readonly what: string
  /** What would end it. */
  readonly waitsFor: string
  readonly lastsMs: number
}

export interface Health {
  readonly ok: boolean
  /** Why it is not, or what a person should know anyway; one sentence each. */
  readonly reasons: readonly string[]
}

export interface HttpSource {
  readonly role: string
  readonly metrics: Metrics
  /** The process can do its work; when it can not, restarting it may help. */
  health(): Health
  /** It does its work now: everything is loaded and it is known where it must be. */
  ready(): Health
  waits(): readonly Wait[]
  /** Every setting as it is now. */
  config(): Readonly<Record<string, unknown>>
  /** Looks that take a moment, by the name under /debug that they have. */
  readonly looks?: Readonly<Record<string, () => Promise<object>>>
}

const SERVICE_UNAVAILABLE = 503

export class HttpServer {
  readonly address: string
  readonly #app: FastifyInstance

  private constructor(app: FastifyInstance, address: string) {
    this.#app = app
    this.address = address
  }

  /** Port 0 picks a free one. */
  static async listen(address: string, source: HttpSource): Promise<HttpServer> {
    const target = parseAddress(address)
    if ('path' in target)
      throw new LemnisError('INVALID_ARGUMENT', { address, expected: 'host:port' })
    const app = fastify({ forceCloseConnections: true })
    serve(app, source)
    try {
      await app.listen(target)
    } catch (error) {
      const errno = error instanceof Error && 'code' in error ? String(error.code) : String(error)
      throw new LemnisError('INVALID_ARGUMENT', { address, errno }, error)
    }
    const bound = app.server.address()
    const port = bound === null || typeof bound === 'string' ? target.port : bound.port
    return new HttpServer(app, address.replace(/\d+$/, String(port)))
  }

  async close(): Promise<void> {
    await this.#app.close()
  }
}

function serve(app: FastifyInstance, source: HttpSource): void {
  const { role, metrics } = source
  const answer = (reply: FastifyReply, health: Health): unknown => {
    if (!health.ok) reply.code(SERVICE_UNAVAILABLE)
    return { role, wallMs: Date.now(), ...health }
  }
  app.get('/healthz', (_, reply) => answer(reply, source.health()))
  app.get('/readyz', (_, reply) => answer(reply, source.ready()))
  app.get('/debug/waits', () => ({ role, waits: source.waits() }))
  app.get('/debug/config', () => ({ role, pid: process.pid, ...source.config() }))
  for (const [name, look] of Object.entries(source.looks ?? {})) {
    app.get(`/debug/${name}`, async () => ({ role, ...(await look()) }))
  }
  app.get('/metrics', async (_, reply) => {
    reply.type(metrics.contentType)
    return metrics.text()
  })
}
