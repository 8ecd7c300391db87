// Owns how people ask about the work that the MDS gives itself, and change it: operators, schedulers,
// maintenance, scrubs (format/control/operators.ts).

import { LemnisError } from '../../base/errors.ts'
import {
  CANCEL_OPERATOR,
  END_MAINTENANCE,
  LIST_OPERATORS,
  LIST_SCHEDULERS,
  type Operator,
  SET_MAINTENANCE,
  SET_SCHEDULER,
  SET_SCRUB_WINDOW,
  SHOW_OPERATOR,
  SHOW_SCRUB_WINDOW,
  START_LEADER_BALANCE,
} from '../../format/control/operators.ts'
import type { CallTable } from '../leading/calls.ts'
import type { Maintenance } from './maintenance.ts'
import type { Operators } from './operators.ts'
import type { Scheduler } from './scheduler.ts'
import type { Scrubs } from './scrubs.ts'
import type { OperatorViews } from './views.ts'

export interface OperatorsServiceOptions {
  readonly operators: Operators
  readonly views: OperatorViews
  readonly scheduler: Scheduler
  readonly maintenance: Maintenance
  readonly scrubs: Scrubs
}

export class OperatorsService {
  readonly #options: OperatorsServiceOptions

  constructor(options: OperatorsServiceOptions) {
    this.#options = options
  }

  serve(calls: CallTable): void {
    const { views, scheduler, maintenance, scrubs } = this.#options
    calls.serve(LIST_OPERATORS, (request) => views.list(request))
    calls.serve(SHOW_OPERATOR, ({ id }) => views.show(id))
    calls.serve(CANCEL_OPERATOR, ({ id }) => this.#cancel(id))
    calls.serve(START_LEADER_BALANCE, async () => ({
      operators: await scheduler.balanceLeaders(),
    }))
    calls.serve(SET_MAINTENANCE, (request) => maintenance.set(request))
    calls.serve(END_MAINTENANCE, async () => {
      await maintenance.end()
      return {}
    })
    calls.serve(LIST_SCHEDULERS, () => ({ schedulers: scheduler.states() }))
    calls.serve(SET_SCHEDULER, async ({ name, on }) => {
      await scheduler.setOn(name, on)
      return scheduler.stateOf(name)
    })
    calls.serve(SHOW_SCRUB_WINDOW, () => scrubs.window)
    calls.serve(SET_SCRUB_WINDOW, (request) => scrubs.setWindow(request))
  }

  async #cancel(id: number): Promise<Operator> {
    const { operators, views } = this.#options
    const operator = views.activeOf(id)
    const wasActive = operator !== undefined && (await operators.cancel(operator))
    const shown = views.show(id)
    if (wasActive) return shown
    throw new LemnisError('CONFLICT', { operator: id, reason: `it has ended: ${shown.state}` })
  }
}
