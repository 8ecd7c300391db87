import { describeClock } from '../../test/contract/clock.ts'
import { NodeClock } from './clock.ts'

describeClock('node', async () => ({
  clock: new NodeClock(),
  settle: (promise) => promise,
  close: async () => {},
}))
