// Owns a whole round of planners over one cluster, as the MDS makes it.

import { planBalance } from '../balance.ts'
import { planDrain } from '../drain.ts'
import { planLeaders } from '../leaders.ts'
import type { PlannedOperator } from '../operator.ts'
import { Pass, type PlanLimits } from '../pass.ts'
import { planRecovery } from '../recover.ts'
import { planRelief } from '../relieve.ts'
import { planReplicas } from '../replicas.ts'
import type { ClusterView } from '../view.ts'

export function planAll(view: ClusterView, limits: PlanLimits): PlannedOperator[] {
  const pass = new Pass(view, limits)
  return [
    ...planRecovery(pass).operators,
    ...planReplicas(pass).operators,
    ...planRelief(pass).operators,
    ...planDrain(pass).operators,
    ...planBalance(pass).operators,
    ...planLeaders(pass).operators,
  ]
}
