import { describe, expect, it } from 'vitest'
import { must } from '../base/assert.ts'
import { Pass } from './pass.ts'
import { bestPlace } from './place.ts'
import { changed, cluster, LIMITS } from './testing/clusters.ts'
import type { ClusterView } from './view.ts'

/** Where a replica of the first copyset goes from its first member, of three in a zone. */
function placeOf(view: ClusterView, avoided: readonly number[]): number | string {
  const [copyset, ...others] = view.copysets
  const first = must(copyset, 'a copyset')
  const pass = new Pass({ ...view, copysets: [{ ...first, avoided }, ...others] }, LIMITS)
  const place = bestPlace(pass, 0, pass.position(must(first.members[0], 'a member')), 'high')
  return typeof place === 'number' ? pass.at(place).id : place
}

describe('a place', () => {
  it('where it could not be built before is taken only when there is no other', () => {
    const view = cluster(9, 3, 30)
    const best = placeOf(view, [])
    const next = placeOf(view, [best as number])
    expect(next).not.toBe(best)
    const only = changed(view, [next as number], { isFull: true })
    expect(placeOf(only, [best as number])).toBe(best)
    expect(placeOf(changed(only, [best as number], { isFull: true }), [best as number])).toBe(
      'no-place',
    )
  })
})
