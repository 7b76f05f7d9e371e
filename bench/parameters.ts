import { parseArgs } from 'node:util'
import type { PostgresVersion } from '../packages/session-pgsql/test/support/postgres-files.ts'

/** The options of the command line. Durations are in seconds. */
export interface Parameters {
  /** Sessions in the table. @default 100_000 */
  readonly sessions: number
  /** Characters of encoded data in each session. @default 500 */
  readonly bytes: number
  /** Concurrent callers of a scenario: the first of `callerCounts`. */
  readonly callers: number
  /** Concurrent callers of a workload, over all processes. It runs with each of the numbers. @default [64] */
  readonly callerCounts: readonly number[]
  /** Processes of each store. A workload runs with each of the numbers. @default [1] */
  readonly processCounts: readonly number[]
  readonly postgres: PostgresVersion
  /** Length of a slice. @default 1 */
  readonly seconds: number
  /** Number of slices of each candidate. @default 15 */
  readonly rounds: number
  /** Names of workloads and scenarios. Undefined: all but the long ones. */
  readonly only: readonly string[] | undefined
  /** Small and without verdicts on times, to check that the benchmark works. */
  readonly short: boolean
  /** Adds the scenario with many rows. */
  readonly big: boolean
  /** Rows in it. @default 10_000_000 */
  readonly bigRows: number
  /** Minutes of the soak test. Undefined: no soak test. */
  readonly soak: number | undefined
  /** Adds the measurements of the effect of each setting. */
  readonly tune: boolean
  readonly json: string | undefined
  readonly svg: string | undefined
  readonly markdown: boolean
  /** Prints the results in this JSON file instead of measuring. */
  readonly from: string | undefined
}

export const HELP = `Usage:
  npm run bench -- [OPTION]...

Options:
  --sessions N      sessions in the table (default: 100000)
  --bytes N         characters of data in each session (default: 500)
  --callers N,M     concurrent callers (default: 64); the workloads run
                    with each of several numbers
  --processes N,M   processes of each store (default: 1), likewise
  --postgres V      PostgreSQL version, 18 or 15 (default: 18)
  --seconds S       length of a slice (default: 1)
  --rounds N        slices of each candidate (default: 15)
  --only A,B        run these workloads and scenarios only
  --short           small and without verdicts on times, to check that the
                    benchmark works
  --big             also run the scenario with many rows
  --big-rows N      rows in that scenario (default: 10000000)
  --soak MINUTES    also run the soak test for this long
  --tune            also measure the effect of each setting
  --json FILE       write the results to this file
  --svg FILE        draw the ratios to this file
  --markdown        print the tables of docs/performance.md
  --from FILE       print the results of an earlier --json; do not measure
  --list            list the workloads and scenarios, then exit
  --help            show this help, then exit`

/** Parses the command line. @throws Error if it is invalid */
export function readParameters(argv: string[]): Parameters & { help: boolean; list: boolean } {
  const { values } = parseArgs({
    args: argv,
    options: {
      sessions: { type: 'string' },
      bytes: { type: 'string' },
      callers: { type: 'string' },
      processes: { type: 'string' },
      postgres: { type: 'string', default: '18' },
      seconds: { type: 'string' },
      rounds: { type: 'string' },
      only: { type: 'string' },
      short: { type: 'boolean', default: false },
      big: { type: 'boolean', default: false },
      'big-rows': { type: 'string' },
      soak: { type: 'string' },
      tune: { type: 'boolean', default: false },
      json: { type: 'string' },
      svg: { type: 'string' },
      markdown: { type: 'boolean', default: false },
      from: { type: 'string' },
      help: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
    },
  })
  const { short, postgres } = values
  if (postgres !== '18' && postgres !== '15')
    throw new Error(`--postgres: expected 18 or 15, received ${postgres}`)
  const callerCounts = integers('callers', values.callers, short ? 16 : 64)
  const processCounts = integers('processes', values.processes, 1)
  if (Math.max(...processCounts) > Math.max(...callerCounts)) {
    throw new Error('--processes: expected at least one caller for each')
  }
  return {
    sessions: integer('sessions', values.sessions, short ? 1000 : 100_000),
    bytes: integer('bytes', values.bytes, 500),
    callers: callerCounts[0] as number,
    callerCounts,
    processCounts,
    postgres,
    seconds: positive('seconds', values.seconds, short ? 0.1 : 1),
    rounds: integer('rounds', values.rounds, short ? 1 : 15),
    only: values.only?.split(',').map((name) => name.trim()),
    short,
    big: values.big,
    bigRows: integer('big-rows', values['big-rows'], short ? 20_000 : 10_000_000),
    soak: values.soak === undefined ? undefined : positive('soak', values.soak, 10),
    tune: values.tune,
    json: values.json,
    svg: values.svg,
    markdown: values.markdown,
    from: values.from,
    help: values.help,
    list: values.list,
  }
}

function positive(name: string, text: string | undefined, fallback: number): number {
  const value = text === undefined ? fallback : Number(text)
  if (value > 0 && Number.isFinite(value)) return value
  throw new Error(`--${name}: expected a number above 0, received ${text}`)
}

function integers(name: string, text: string | undefined, fallback: number): number[] {
  return (text ?? String(fallback)).split(',').map((part) => integer(name, part, fallback))
}

function integer(name: string, text: string | undefined, fallback: number): number {
  const value = positive(name, text, fallback)
  if (Number.isInteger(value)) return value
  throw new Error(`--${name}: expected an integer, received ${text}`)
}
