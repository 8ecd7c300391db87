// Time as the core sees it. Durations are milliseconds and may have fractions.

export interface Timer {
  /** Forgets the timer; doing it twice, or after it fired, is harmless. */
  cancel(): void
}

export interface Clock {
  /** Milliseconds that never go back, from an arbitrary start that a restart may change. */
  monotonicMs(): number
  /** Milliseconds since 1970 as this host believes; may jump. For people, never for decisions. */
  wallMs(): number
  /** Calls `fire` once, not before `delayMs` have passed on this host's monotonic clock. */
  after(delayMs: number, fire: () => void): Timer
  /**
   * Calls `fire` once, when what runs now has returned: the end of a turn, where everything that the
   * turn produced is gathered into one write. Several are called in the order in which they were asked.
   */
  soon(fire: () => void): void
}
