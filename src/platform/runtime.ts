// Owns the flags with which this project's processes that move data are started.

/**
 * What moves through such a process lies outside of V8's heap, for milliseconds or until it is written
 * back. Measured with three replicas and 32 writes in flight on two cores: 5,200 writes a second without
 * these, 7,800 with them (docs/adr/0017-collecting-little.md).
 */
export const DATA_PROCESS_FLAGS: readonly string[] = [
  // Most bytes die young; a young generation that fills more slowly lets them count as old first.
  '--min-semi-space-size=16',
  '--max-semi-space-size=16',
  // Bytes outside of the heap count as growth of the old generation, which is small here: without
  // this it is collected again with every 10 to 20 MB that pass through.
  '--heap-growing-percent=1000',
  // A class of which no object lives at a collection loses its hidden class, and all machine code
  // that knows it is thrown away. Requests are such classes: they live for a millisecond.
  '--retain-maps-for-n-gc=1000000',
  // Where several such processes share few cores, helpers only take turns with the work.
  '--single-threaded-gc',
]
