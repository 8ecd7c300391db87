// Owns the question to a member of etcd how large its database may become. Its API does not say before
// version 3.6; its metrics do, which it serves where it serves clients.

import { readFileSync } from 'node:fs'
import { type ClientRequest, get, type IncomingMessage } from 'node:http'
import { get as getSecure } from 'node:https'
import type { EtcdConfig } from './etcd-config.ts'

const QUOTA = /^etcd_server_quota_backend_bytes (\S+)$/m
/** All its metrics are some hundred KiB. */
const BYTES_MAX = 4 * 1024 * 1024

/** Null when it does not say, whatever the reason: nothing hangs on it but a warning. */
export async function etcdQuotaBytes(endpoint: string, config: EtcdConfig): Promise<number | null> {
  try {
    const text = await metricsOf(endpoint, config)
    const bytes = Number(QUOTA.exec(text)?.[1])
    return bytes > 0 ? bytes : null
  } catch {
    return null
  }
}

function metricsOf(endpoint: string, config: EtcdConfig): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = ask(endpoint, config, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (part: string) => {
        text += part
        if (text.length > BYTES_MAX) request.destroy(new Error('too long'))
      })
      response.on('end', () => resolve(text))
      response.on('error', reject)
    })
    request.on('error', reject)
  })
}

function ask(
  endpoint: string,
  { caFile, certificateFile, keyFile, memberTimeoutMs }: EtcdConfig,
  answer: (response: IncomingMessage) => void,
): ClientRequest {
  const signal = AbortSignal.timeout(memberTimeoutMs)
  if (caFile === '') return get(`http://${endpoint}/metrics`, { signal }, answer)
  const own =
    certificateFile === ''
      ? {}
      : { cert: readFileSync(certificateFile), key: readFileSync(keyFile) }
  const options = { signal, ca: readFileSync(caFile), ...own }
  return getSecure(`https://${endpoint}/metrics`, options, answer)
}
