// A network as the core sees it: byte streams between addresses, each in order while it lasts.
//
// A stream may stall for any time, deliver in any pieces, or end at any byte; what was queued is then
// lost without notice. Liveness is the matter of rpc/, which sends keep-alives.

/** `host:port` or `unix:/path`. */
export type Address = string

export interface ConnectionEvents {
  /** The stream is up (immediately for accepted ones). */
  onOpen(): void
  /** Lends `bytes` until it returns; the memory is reused after. */
  onData(bytes: Uint8Array): void
  /** Bytes left to send fell below the low-water mark after write() had returned false. */
  onDrain(): void
  /** The stream ended; called once, after which nothing more is called. `reason` is for people. */
  onClose(reason: string): void
}

export interface Connection {
  /** The other side, for people. */
  readonly remote: Address
  /**
   * Queues `parts` as one gathered write, borrowing them until they are sent: nobody changes them any
   * more. False when more than the high-water mark is queued: the caller should wait for onDrain.
   */
  write(parts: readonly Uint8Array[]): boolean
  /** Bytes queued and not yet taken by the system. */
  queuedBytes(): number
  /** Stops and restarts onData, which makes the sender wait. */
  pause(): void
  resume(): void
  /** Ends after what is queued has been sent. */
  close(): void
  /** Ends now. */
  destroy(reason: string): void
}

export interface Listener {
  readonly address: Address
  /** Stops accepting; connections stay. */
  close(): Promise<void>
}

export interface Network {
  /** Port 0 picks a free one; the listener's address has it. `accept` returns the events of a new stream. */
  listen(address: Address, accept: (connection: Connection) => ConnectionEvents): Promise<Listener>
  /** Never throws: a connection that cannot be made ends by onClose. */
  connect(address: Address, events: ConnectionEvents): Connection
}
