// Owns what a role tells the `lemnis dev` that started it, over the channel that Node gives to children.

/** It serves, at these addresses. */
export type Ready = Readonly<Record<string, string | number>>

export interface ReadyMessage {
  readonly kind: 'ready'
  readonly [fact: string]: string | number
}

export function isReady(message: unknown): message is ReadyMessage {
  return (
    typeof message === 'object' && message !== null && 'kind' in message && message.kind === 'ready'
  )
}
