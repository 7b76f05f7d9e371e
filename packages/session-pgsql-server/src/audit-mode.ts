import { parseArgs } from 'node:util'
import { verifyChain } from './console/audit-chain.ts'
import { readAuditLines } from './console/audit-file.ts'
import { UsageError } from './flags.ts'
import type { Mode } from './mode.ts'

const HELP = `usage: session-pgsql-server audit verify FILE

Verifies an audit log of the console. Each line has a number and the SHA-256 hash of the line before it: a line that
was changed, removed, added or moved breaks the chain. If FILE.1 exists, it is the part before FILE.

FILE may be a copy, such as what a syslog server has received, without the text before each "{".
The last line has no successor that proves it. Compare the hash that is printed for it with that of the copy.

Exit status: 0 if the chain is whole, 1 if it is not.
`

export const auditMode: Mode = {
  name: 'audit',
  summary: 'verifies an audit log of the console',

  async run(argv, { stdout }) {
    if (argv.includes('--help')) {
      stdout.write(HELP)
      return
    }
    const [action, file, ...rest] = positionalsOf(argv)
    if (action !== 'verify' || file === undefined || rest.length > 0) {
      throw new UsageError('expected: session-pgsql-server audit verify FILE')
    }
    const { numbers, end, problems, incomplete } = verifyChain(await linesOf(file))
    if (numbers === undefined) throw new Error(`${file} has no entries`)
    for (const line of [...incomplete, ...problems]) stdout.write(`${line}\n`)
    stdout.write(`entries ${numbers[0]} to ${numbers[1]}; SHA-256 of the last line: ${end.hash}\n`)
    if (problems.length > 0) {
      throw new Error(
        `the chain is broken in ${problems.length} ${problems.length === 1 ? 'place' : 'places'}`,
      )
    }
    stdout.write('The chain is whole.\n')
  },
}

function positionalsOf(argv: readonly string[]): string[] {
  try {
    return parseArgs({ args: [...argv], options: {}, allowPositionals: true, strict: true }).positionals
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

async function linesOf(file: string): Promise<string[]> {
  try {
    return await readAuditLines(file)
  } catch (error) {
    throw new UsageError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
}
