import type { SessionOrder } from '../../session/filter.ts'
import type { SessionInfo } from '../../session/record.ts'
import { UsageError } from '../arguments.ts'
import type { Command, Context } from '../command.ts'
import { number, type Output, relative } from '../output.ts'

const COLUMNS = ['id', 'created', 'modified', 'expires', 'accesses', 'errors']

export const list: Command = {
  name: 'list',
  usage: '[OPTION]...',
  summary: 'list sessions, filtered, sorted and in pages',
  details: `
Lists active sessions, the last modified first, without their data. A session
must match all filters. Filters compare whole values.

If there are more sessions, the output ends with the --after option of the next
page. Its value contains the last id of the page. Sorting reads all matching
sessions; with millions of sessions use --sort id, the only order with an index.

Examples:
  session-pgsql list --field 4711
  session-pgsql list --address 203.0.113.7 --all
  session-pgsql list --sort -errors --limit 10
  session-pgsql list --field 4711 --full-ids --json | jq -r '.sessions[].id'

JSON output:
  { "sessions": [
    { "id", "name", "custom", "active", "created", "modified", "expires",
      "endsAt", "addressCreated", "addressModified", "accesses", "errors",
      "warnings", "notices", "errorMessage" }],
    "next": value for --after, or null }

If a server cannot be reached, its sessions are not listed, the exit code is 1,
and the JSON output has "missing": the names of these servers.`,
  options: {
    field: {
      type: 'string',
      placeholder: 'VALUE',
      description: 'only sessions with this custom field, for example the id of a user',
    },
    where: {
      type: 'string',
      placeholder: 'COLUMN=VALUE',
      description: 'only sessions with this value in an own column (see --columns); repeatable',
    },
    name: { type: 'string', placeholder: 'NAME', description: 'only sessions with this cookie name' },
    address: {
      type: 'string',
      placeholder: 'ADDRESS',
      description: 'only sessions with this client address at the first or the last write',
    },
    active: { type: 'boolean', description: 'sessions that have not expired (default)' },
    expired: { type: 'boolean', description: 'expired sessions that are still in the table' },
    all: { type: 'boolean', description: 'active and expired sessions' },
    sort: {
      type: 'string',
      placeholder: 'COLUMN',
      description: `${COLUMNS.join(', ')}; prefix - for descending order (default: -modified)`,
    },
    limit: {
      type: 'string',
      placeholder: 'NUMBER',
      description: 'maximum number of sessions per page, 1 to 10000 (default: 50)',
    },
    after: {
      type: 'string',
      placeholder: 'CURSOR',
      description: 'start of the page, as printed at the end of the previous page',
    },
  },
  positionals: [0, 0],

  async run(context) {
    const { handler, output } = context
    const options = optionsOf(context)
    const page = await handler.list(options)
    const isComplete = page.missing.length === 0
    if (output.isJson) {
      // With --all, only this machine's clock can tell active sessions from expired ones.
      const isActive = ({ expires }: SessionInfo): boolean =>
        options.active === 'any' ? expires === null || expires.getTime() >= Date.now() : options.active
      const sessions = page.map((one) => sessionJson(one, isActive(one), output))
      const missing = isComplete ? {} : { missing: page.missing }
      output.json({ sessions, next: page.next ?? null, ...missing })
      return isComplete ? 0 : 1
    }
    if (page.length === 0) output.line('No sessions.')
    else
      output.table(
        [
          { header: 'ID' },
          { header: 'NAME', shrinks: true },
          { header: 'FIELD', shrinks: true },
          { header: 'ADDRESS', shrinks: true },
          { header: 'MODIFIED', right: true },
          { header: 'EXPIRES', right: true },
          { header: 'ACCESSES', right: true },
          { header: 'ERRORS', right: true },
        ],
        page.map((one) => [
          output.id(one.id),
          one.name ?? '-',
          one.custom ?? '-',
          one.addressModified ?? one.addressCreated ?? '-',
          relative(one.modified),
          relative(one.expires),
          number(one.accesses),
          number(one.errors),
        ]),
      )
    if (page.next !== undefined) output.line(`\nNext page: --after ${page.next}`)
    if (isComplete) return 0
    output.error(
      `the list lacks the sessions on ${page.missing.join(', ')}, which cannot be reached`,
      'SERVER_DOWN',
    )
    return 1
  },
}

function optionsOf({ arguments: args }: Context) {
  const state = args.oneOf('active', 'expired', 'all')
  const limit = args.number('limit') ?? 50
  if (!Number.isInteger(limit) || limit < 1 || limit > 10_000) {
    throw new UsageError('--limit: expected an integer from 1 to 10000')
  }
  const order = args.text('sort') ?? '-modified'
  if (!COLUMNS.includes(order.replace(/^-/, ''))) {
    throw new UsageError(`--sort: expected one of ${COLUMNS.join(', ')}, with or without the prefix -`)
  }
  return {
    field: args.text('field'),
    where: args.pairs('where'),
    name: args.text('name'),
    address: args.text('address'),
    active: state === 'all' ? ('any' as const) : state !== 'expired',
    order: order as SessionOrder,
    limit,
    after: args.text('after'),
  }
}

/** Returns a session's fields in the order of the JSON output. */
export function sessionJson(
  session: SessionInfo,
  active: boolean,
  output: Output,
): SessionInfo & { readonly active: boolean } {
  const { id, name, custom, created, modified, expires, ...others } = session
  return { id: output.id(id), name, custom, active, created, modified, expires, ...others }
}
