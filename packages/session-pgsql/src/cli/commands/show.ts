import { textOrReason, unreadableReason } from '../../codec/sealed.ts'
import { infoOf } from '../../session/record.ts'
import { remaining, type StoredSession } from '../../session/stored.ts'
import { findRow } from '../../table/listing.ts'
import type { Command, Context } from '../command.ts'
import { dateTime, number, plural, visible } from '../output.ts'
import { checkFullId } from './destroy.ts'
import { sessionJson } from './list.ts'

export const show: Command = {
  name: 'show',
  usage: 'ID [--data]',
  summary: 'show one session; with --data, also its data',
  details: `
Shows a session by its id, or by its hash as list shows it, even if it has
expired. With several servers, shows every row with this id. The exit code is 1
if there is none.

The session's data is shown only with --data: JSON is indented, other formats
are shown as stored, and control characters are shown as \\u{...}. With --json
the data is the text exactly as stored. Encrypted data is decrypted, or reported
as unreadable without its key.

Examples:
  session-pgsql show 8hJq2xZkPq0R5t7vWn3yBc6dFg9hKm1p
  session-pgsql show 8hJq2xZkPq0R5t7vWn3yBc6dFg9hKm1p --data
  session-pgsql show 8hJq2xZkPq0R5t7vWn3yBc6dFg9hKm1p --data --json |
    jq '.sessions[0].text | fromjson'

JSON output:
  { "sessions": [{ (the fields of list), "server",
    "text" or "unreadable" (with --data) }] }`,
  options: { data: { type: 'boolean', description: "show the session's data" } },
  positionals: [1, 1],

  async run(context) {
    const { arguments: args, output, servers, settings } = context
    const id = args.positionals[0] as string
    checkFullId(id)
    const rows = await Promise.all(
      servers.map(async (server) => {
        const stored = await findRow(server.table, id, context.deadline())
        return stored && { server: server.name, stored }
      }),
    )
    const found = rows.filter((row) => row !== undefined)
    if (output.isJson) {
      output.json({
        sessions: found.map(({ server, stored }) => ({
          ...sessionJson(infoOf(stored, settings.maxLifetime), remaining(stored) > 0, output),
          server,
          ...(args.has('data') ? textOrReason(stored.text) : {}),
        })),
      })
    } else {
      if (found.length === 0) output.error('the session does not exist')
      for (const [at, { server, stored }] of found.entries()) {
        if (at > 0) output.line()
        if (settings.db.length > 1) output.pairs([['Server', server]])
        print(stored, context)
      }
    }
    return found.length === 0 ? 1 : 0
  },
}

function print(stored: StoredSession, { arguments: args, output, settings }: Context): void {
  const info = infoOf(stored, settings.maxLifetime)
  const left = remaining(stored)
  const unreadable = unreadableReason(stored.text)
  const hint = args.has('data') ? '' : ' (use --data to show it)'
  output.pairs([
    ['Id', output.id(info.id)],
    ['Name', info.name ?? '-'],
    ['Field', info.custom ?? '-'],
    ['State', left > 0 ? 'active' : 'expired'],
    ['Created', dateTime(info.created)],
    ['  address', info.addressCreated ?? '-'],
    ['Modified', dateTime(info.modified)],
    ['  address', info.addressModified ?? '-'],
    ['Expires', info.expires === null ? 'never' : dateTime(info.expires)],
    ...(info.endsAt === null ? [] : ([['  at the latest', dateTime(info.endsAt)]] as const)),
    ['Accesses', number(info.accesses)],
    [
      'Errors',
      `${plural(info.errors, 'error')}, ${plural(info.warnings, 'warning')}, ${plural(info.notices, 'notice')}`,
    ],
    ['  last message', info.errorMessage ?? (stored.errorMessage === null ? '-' : 'cannot be decrypted')],
    ['Data', unreadable === undefined ? `${plural(stored.text.length, 'character')}${hint}` : unreadable],
  ])
  if (args.has('data') && unreadable === undefined) {
    output.line(`\n${visible(format(stored.text), true)}`)
  }
}

function format(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text
  }
}
