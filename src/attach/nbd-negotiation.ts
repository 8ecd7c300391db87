// Owns what a client and the server agree on before the first request: structured replies, the
// metadata context, the export. Options are answered one at a time.
// Invariant: at most one lease of an export is held here, and it goes to the connection with the
// 'transmission' end or back to the exports.

import { EMPTY } from '../base/bytes.ts'
import { asLemnisError, type LemnisError } from '../base/errors.ts'
import type { BlockDevice } from '../client/device.ts'
import type { ExportLease, SharedExports } from './exports.ts'
import {
  decodeGo,
  decodeMeta,
  decodeName,
  encodeBlockSizeInfo,
  encodeContext,
  encodeExportInfo,
  encodeExportListing,
  encodeExportName,
  encodeGreeting,
  encodeOptionReply,
  type GoOption,
} from './nbd-options.ts'
import {
  BASE_ALLOCATION,
  BASE_ALLOCATION_ID,
  CAN_MULTI_CONN,
  HAS_FLAGS,
  OPT_ABORT,
  OPT_EXPORT_NAME,
  OPT_GO,
  OPT_INFO,
  OPT_LIST,
  OPT_LIST_META_CONTEXT,
  OPT_SET_META_CONTEXT,
  OPT_STRUCTURED_REPLY,
  READ_ONLY,
  REP_ACK,
  REP_ERR_INVALID,
  REP_ERR_POLICY,
  REP_ERR_SHUTDOWN,
  REP_ERR_UNKNOWN,
  REP_ERR_UNSUP,
  REP_INFO,
  REP_META_CONTEXT,
  REP_SERVER,
  SEND_DF,
  SEND_FAST_ZERO,
  SEND_FLUSH,
  SEND_FUA,
  SEND_TRIM,
  SEND_WRITE_ZEROES,
} from './nbd-protocol.ts'
import type { NbdReplies } from './nbd-replies.ts'

/** What an option led to. */
export type NegotiationEnd =
  | { readonly kind: 'more' }
  /** NBD_OPT_EXPORT_NAME of an export that can't be had: there is no reply for that. */
  | { readonly kind: 'refused' }
  | { readonly kind: 'aborted' }
  | { readonly kind: 'transmission'; readonly lease: ExportLease; readonly hasContext: boolean }

const MORE: NegotiationEnd = { kind: 'more' }

export class NbdNegotiation {
  /** The client does without the 124 reserved bytes after the export's flags. */
  noZeroes = false
  readonly #exports: SharedExports
  readonly #replies: NbdReplies
  readonly #onReply: () => void
  #isBusy = false
  /** The export for which the client chose the metadata context, or null. */
  #contextOf: string | null = null
  #name = ''

  constructor(exports: SharedExports, replies: NbdReplies, onReply: () => void) {
    this.#exports = exports
    this.#replies = replies
    this.#onReply = onReply
  }

  /** An option is being answered. */
  get isBusy(): boolean {
    return this.#isBusy
  }

  /** The export in use; empty before one is. */
  get name(): string {
    return this.#name
  }

  greet(): void {
    this.#send(encodeGreeting())
  }

  async answer(option: number, data: Uint8Array): Promise<NegotiationEnd> {
    this.#isBusy = true
    const end = await this.#answer(option, data)
    this.#isBusy = false
    return end
  }

  #answer(option: number, data: Uint8Array): NegotiationEnd | Promise<NegotiationEnd> {
    switch (option) {
      case OPT_EXPORT_NAME:
        return this.#exportName(data)
      case OPT_ABORT:
        this.#reply(option, REP_ACK)
        return { kind: 'aborted' }
      case OPT_LIST:
        return this.#list(data)
      case OPT_INFO:
      case OPT_GO:
        return this.#go(option, data)
      case OPT_STRUCTURED_REPLY:
        if (data.byteLength > 0) return this.#reply(option, REP_ERR_INVALID)
        this.#replies.isStructured = true
        return this.#reply(option, REP_ACK)
      case OPT_LIST_META_CONTEXT:
      case OPT_SET_META_CONTEXT:
        return this.#context(option, data)
      default:
        return this.#reply(option, REP_ERR_UNSUP)
    }
  }

  async #exportName(data: Uint8Array): Promise<NegotiationEnd> {
    const name = decodeName(data)
    if (name === null) return { kind: 'refused' }
    try {
      const lease = await this.#exports.acquire(name)
      const { sizeBytes } = lease.device
      this.#send(encodeExportName(sizeBytes, this.#flagsOf(lease.device), this.noZeroes))
      return this.#transmission(name, lease)
    } catch (error) {
      asLemnisError(error)
      return { kind: 'refused' }
    }
  }

  async #list(data: Uint8Array): Promise<NegotiationEnd> {
    if (data.byteLength > 0) return this.#reply(OPT_LIST, REP_ERR_INVALID)
    try {
      for (const name of await this.#exports.list()) {
        this.#reply(OPT_LIST, REP_SERVER, encodeExportListing(name))
      }
      return this.#reply(OPT_LIST, REP_ACK)
    } catch (error) {
      return this.#refuse(OPT_LIST, asLemnisError(error))
    }
  }

  async #go(option: number, data: Uint8Array): Promise<NegotiationEnd> {
    const go = decodeGo(data)
    if (go === null) return this.#reply(option, REP_ERR_INVALID)
    try {
      const lease = await this.#exports.acquire(go.name)
      this.#describe(option, go, lease.device)
      if (option === OPT_GO) return this.#transmission(go.name, lease)
      lease.release()
      return MORE
    } catch (error) {
      return this.#refuse(option, asLemnisError(error))
    }
  }

  #describe(option: number, go: GoOption, device: BlockDevice): void {
    this.#reply(option, REP_INFO, encodeExportInfo(device.sizeBytes, this.#flagsOf(device)))
    if (go.wantsBlockSize) this.#reply(option, REP_INFO, encodeBlockSizeInfo(device.blockBytes))
    this.#reply(option, REP_ACK)
  }

  #transmission(name: string, lease: ExportLease): NegotiationEnd {
    this.#name = name
    return { kind: 'transmission', lease, hasContext: this.#contextOf === name }
  }

  #context(option: number, data: Uint8Array): NegotiationEnd {
    if (option === OPT_SET_META_CONTEXT) this.#contextOf = null
    const meta = decodeMeta(data)
    if (meta === null || !this.#replies.isStructured) return this.#reply(option, REP_ERR_INVALID)
    const { name, queries } = meta
    if (option === OPT_SET_META_CONTEXT) {
      if (queries.includes(BASE_ALLOCATION)) {
        this.#contextOf = name
        this.#reply(option, REP_META_CONTEXT, encodeContext(BASE_ALLOCATION_ID))
      }
    } else if (
      queries.length === 0 ||
      queries.some((q) => q === 'base:' || q === BASE_ALLOCATION)
    ) {
      this.#reply(option, REP_META_CONTEXT, encodeContext(0))
    }
    return this.#reply(option, REP_ACK)
  }

  #flagsOf(device: BlockDevice): number {
    const writing = SEND_TRIM | SEND_WRITE_ZEROES | SEND_FAST_ZERO
    return (
      HAS_FLAGS |
      SEND_FLUSH |
      SEND_FUA |
      CAN_MULTI_CONN |
      (this.#replies.isStructured ? SEND_DF : 0) |
      (device.readOnly ? READ_ONLY : writing)
    )
  }

  #refuse(option: number, error: LemnisError): NegotiationEnd {
    const text = new TextEncoder().encode(error.message)
    switch (error.code) {
      case 'NOT_FOUND':
      case 'INVALID_ARGUMENT':
        return this.#reply(option, REP_ERR_UNKNOWN, text)
      case 'CLOSED':
        return this.#reply(option, REP_ERR_SHUTDOWN, text)
      default:
        return this.#reply(option, REP_ERR_POLICY, text)
    }
  }

  #reply(option: number, type: number, data: Uint8Array = EMPTY): NegotiationEnd {
    this.#send(encodeOptionReply(option, type, data))
    return MORE
  }

  #send(bytes: Uint8Array): void {
    this.#replies.raw(bytes)
    this.#onReply()
  }
}
