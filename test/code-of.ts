// Owns how a test asks for the outcome of something that may be refused: by the code of the error. What is
// no LemnisError is a fault of the code, and fails the test.

import { LemnisError } from '../src/base/errors.ts'

/** The code of the error that `promise` ends with; 'no error' when it ends well. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
  } catch (error) {
    if (error instanceof LemnisError) return error.code
    throw error
  }
  return 'no error'
}
