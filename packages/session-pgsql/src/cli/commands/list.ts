import type { SessionOrder } from '../../session/filter.ts'
import type { SessionInfo } from '../../session/record.ts'
import type { Command, Context } from '../command.ts'
import { UsageError } from '../flags.ts'
import { number, type Output, relative } from '../output.ts'

const SORTS = ['id', 'created', 'modified', 'expires', 'accesses', 'errors']

export const list: Command = {
  name: 'list',
  usage: '[--field VALUE] [--name NAME] [--address ADDRESS] …',
  summary: 'sessions, filtered, sorted, page by page; without their data',
  details: `
Shows sessions that have not expired, the last modified first. All filters that
are given must fit; they compare whole values.

Every page but the last says where the next one begins (--after). Sorting goes
through all sessions that the filters leave; on millions, --sort id is the one
order that an index serves. The cursor of a page holds its last id.

Examples
  session-pgsql list --field 4711            a user's sessions, if the field is
                                             the user's id
  session-pgsql list --address 203.0.113.7 --all
  session-pgsql list --sort -errors --limit 10
  session-pgsql list --field 4711 --full-ids --json | jq -r '.sessions[].id'

JSON: { "sessions": [{ "id", "name", "custom", "active", "created", "modified",
        "expires", "addressCreated", "addressModified", "accesses", "errors",
        "warnings", "notices", "errorMessage" }], "next": for --after, or null }`,
  flags: {
    field: { type: 'string', value: 'VALUE', about: 'the custom field' },
    name: { type: 'string', value: 'NAME', about: "the session's name, that of its cookie" },
    address: { type: 'string', value: 'ADDRESS', about: "the client's, at the first or the last write" },
    active: { type: 'boolean', about: 'those that have not expired (this is the default)' },
    expired: { type: 'boolean', about: 'those that have, and are still there' },
    all: { type: 'boolean', about: 'both' },
    sort: {
      type: 'string',
      value: 'COLUMN',
      about: `${SORTS.join(', ')}; with a - before it the greatest first (-modified)`,
    },
    limit: { type: 'string', value: 'NUMBER', about: 'most sessions of a page, 1 to 10000 (50)' },
    after: { type: 'string', value: 'CURSOR', about: 'where the page begins, as the page before it says' },
  },
  positionals: [0, 0],

  async run(context) {
    const { handler, output } = context
    const options = optionsOf(context)
    const page = await handler.list(options)
    if (output.isJson) {
      // Asked for both, only this machine's clock can tell them apart.
      const isActive = ({ expires }: SessionInfo): boolean =>
        options.active === 'any' ? expires === null || expires.getTime() >= Date.now() : options.active
      const sessions = page.map((one) => sessionJson(one, isActive(one), output))
      output.json({ sessions, next: page.next ?? null })
      return 0
    }
    if (page.length === 0) {
      output.line('No sessions.')
      return 0
    }
    output.table(
      [
        { header: 'ID' },
        { header: 'NAME', shrinks: true },
        { header: 'FIELD', shrinks: true },
        { header: 'ADDRESS', shrinks: true },
        { header: 'MODIFIED', right: true },
        { header: 'EXPIRES', right: true },
        { header: 'USES', right: true },
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
    if (page.next !== undefined) output.line(`\nThere are more: --after ${page.next}`)
    return 0
  },
}

function optionsOf({ arguments: given }: Context) {
  const state = given.oneOf('active', 'expired', 'all')
  const limit = given.number('limit') ?? 50
  if (!Number.isInteger(limit) || limit < 1 || limit > 10_000) {
    throw new UsageError('--limit: expected a whole number from 1 to 10000')
  }
  const order = given.text('sort') ?? '-modified'
  if (!SORTS.includes(order.replace(/^-/, ''))) {
    throw new UsageError(`--sort: expected ${SORTS.join(', ')}, or one of them with a - before it`)
  }
  return {
    field: given.text('field'),
    name: given.text('name'),
    address: given.text('address'),
    active: state === 'all' ? ('any' as const) : state !== 'expired',
    order: order as SessionOrder,
    limit,
    after: given.text('after'),
  }
}

/** A session as programs see it. */
export function sessionJson(
  session: SessionInfo,
  active: boolean,
  output: Output,
): SessionInfo & { readonly active: boolean } {
  const { id, name, custom, created, modified, expires, ...others } = session
  return { id: output.id(id), name, custom, active, created, modified, expires, ...others }
}
