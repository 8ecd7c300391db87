// Owns where the files of a store lie under its directory, and how the names of a replica's files begin.
// Invariant: these stay as they are, since what is on disks is found by them.

/** Directories of a store. */
export interface StoreLayout {
  readonly manifests: string
  readonly chunks: string
  readonly pool: string
  readonly trash: string
}

export function storeLayout(directory: string): StoreLayout {
  return {
    manifests: `${directory}/manifests`,
    chunks: `${directory}/chunks`,
    pool: `${directory}/pool`,
    trash: `${directory}/trash`,
  }
}

/** Names of a replica's files begin with this. */
export function replicaName(group: number, replica: number): string {
  return `${group}-${replica}`
}
