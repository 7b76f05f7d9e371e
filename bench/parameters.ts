import { parseArgs } from 'node:util'
import type { PostgresVersion } from '../packages/session-pgsql/test/support/postgres-files.ts'

/** What can be said on the command line. Durations are in seconds. */
export interface Parameters {
  /** Sessions in the table. @default 100_000 */
  readonly sessions: number
  /** Characters of data in each, encoded. @default 500 */
  readonly bytes: number
  /** Callers at once, over all processes. @default 64 */
  readonly callers: number
  /** Processes that the callers of a contestant are spread over. @default 1 */
  readonly processes: number
  readonly postgres: PostgresVersion
  /** Length of one slice of the race. @default 1 */
  readonly seconds: number
  /** How often each contestant has its slice. @default 15 */
  readonly rounds: number
  /** Names of workloads and scenarios; undefined: all but the long ones. */
  readonly only: readonly string[] | undefined
  /** Everything small, and no verdict on times: to see that the bench works. */
  readonly short: boolean
  /** Adds the scenario with many rows. */
  readonly big: boolean
  /** Rows in it. @default 10_000_000 */
  readonly bigRows: number
  /** Minutes of the soak; undefined: no soak. */
  readonly soak: number | undefined
  /** Adds the measurements of what each setting does. */
  readonly tune: boolean
  readonly json: string | undefined
  readonly svg: string | undefined
  readonly markdown: boolean
  /** Renders the results in this JSON file instead of measuring anything. */
  readonly from: string | undefined
}

export const HELP = `npm run bench -- [options]

  --sessions N      sessions in the table (100000)
  --bytes N         characters of data in each (500)
  --callers N       callers at once (64)
  --processes N     processes of each contestant (1)
  --postgres V      18 or 15 (18)
  --seconds S       length of a slice (1)
  --rounds N        slices of each contestant (15)
  --only A,B        these workloads and scenarios only; --list names them
  --short           everything small, no verdict on times: does the bench work?
  --big             also with many rows; --big-rows N (10000000)
  --soak MINUTES    also for so long at one go, watching the memory
  --tune            also what each setting does
  --json FILE       write the results
  --svg FILE        draw the ratios
  --markdown        print the tables of docs/performance.md
  --from FILE       render an earlier --json instead of measuring
  --list            name the workloads and scenarios`

/** @throws Error with a text for the user, if something is misspelt */
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
    throw new Error(`--postgres: expected 18 or 15, got ${postgres}`)
  const callers = whole('callers', values.callers, short ? 16 : 64)
  const processes = whole('processes', values.processes, 1)
  if (processes > callers) throw new Error('--processes: expected at least one caller for each')
  return {
    sessions: whole('sessions', values.sessions, short ? 1000 : 100_000),
    bytes: whole('bytes', values.bytes, 500),
    callers,
    processes,
    postgres,
    seconds: positive('seconds', values.seconds, short ? 0.1 : 1),
    rounds: whole('rounds', values.rounds, short ? 1 : 15),
    only: values.only?.split(',').map((name) => name.trim()),
    short,
    big: values.big,
    bigRows: whole('big-rows', values['big-rows'], short ? 20_000 : 10_000_000),
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
  throw new Error(`--${name}: expected a number above 0, got ${text}`)
}

function whole(name: string, text: string | undefined, fallback: number): number {
  const value = positive(name, text, fallback)
  if (Number.isInteger(value)) return value
  throw new Error(`--${name}: expected a whole number, got ${text}`)
}
