// Owns the frame of the command line: options that every command has, how one command is declared and
// run, and how it ends. The commands themselves are in ../commands.

import { Argument, Command } from 'commander'
import { EXIT, reportFailure } from './failure.ts'
import { Io } from './io.ts'
import { Session } from './session.ts'

const MDS_DEFAULT = '127.0.0.1:7400'

interface GlobalOptions {
  readonly mds: string
  readonly json?: boolean
}

export function makeProgram(name: string, version: string): Command {
  return new Command(name)
    .description('Replicated block volumes: clusters, volumes, and the machines that serve them.')
    .version(version)
    .option(
      '--mds <addresses>',
      'metadata servers, host:port[,host:port]',
      process.env['LEMNIS_MDS'] ?? MDS_DEFAULT,
    )
    .option('--json', 'print one JSON value instead of text')
    .configureHelp({
      showGlobalOptions: true,
      // Those of the program; a role's own options are not for the commands beside it.
      visibleGlobalOptions: (command) =>
        rootOf(command).options.filter(
          (option) => command.parent !== null && option.long !== '--version',
        ),
    })
    .showSuggestionAfterError()
    .exitOverride((error) => {
      throw error
    })
}

function rootOf(command: Command): Command {
  return command.parent === null ? command : rootOf(command.parent)
}

/** Declares a command with an example for its help. */
export function declare(
  parent: Command,
  usage: string,
  description: string,
  example: string,
): Command {
  return parent
    .command(usage)
    .description(description)
    .addHelpText('after', `\nExample:\n  $ lemnis ${example}`)
}

/** An argument that is one of these. */
export function choice(usage: string, values: readonly string[]): Argument {
  return new Argument(usage).choices(values)
}

/** A command that only holds others: `lemnis volume`. */
export function family(parent: Command, name: string, description: string): Command {
  return parent.command(name).description(description)
}

export function ioOf(command: Command): Io {
  return Io.ofProcess(command.optsWithGlobals<GlobalOptions>().json === true)
}

export function mdsOf(command: Command): string[] {
  const { mds } = command.optsWithGlobals<GlobalOptions>()
  return mds.split(',').map((address) => address.trim())
}

/**
 * The action of a command that talks to the cluster: `work` gets a session and what commander gives
 * (arguments, then options). True from it means that what was found is wrong, without an error.
 */
export function asking<A extends unknown[]>(
  work: (session: Session, ...given: A) => Promise<boolean | void>,
): (...given: unknown[]) => Promise<void> {
  return async (...given) => {
    const command = given.pop() as Command
    const session = new Session(ioOf(command), mdsOf(command))
    try {
      const isWrong = await work(session, ...(given as A))
      if (isWrong === true) process.exitCode = EXIT.failed
    } catch (error) {
      process.exitCode = reportFailure(session.io, error)
    } finally {
      await session.close()
    }
  }
}
