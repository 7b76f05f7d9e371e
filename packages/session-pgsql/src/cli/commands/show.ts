import { storedId } from '../../session/id.ts'
import { infoOf } from '../../session/record.ts'
import { remaining, type StoredSession } from '../../session/stored.ts'
import { findRow } from '../../table/listing.ts'
import type { Command, Context } from '../command.ts'
import { moment, number, plural, visible } from '../output.ts'
import { checkWholeId } from './destroy.ts'
import { sessionJson } from './list.ts'

export const show: Command = {
  name: 'show',
  usage: 'ID [--data]',
  summary: 'one session, expired or not; with --data what is stored in it',
  details: `
Shows what is known of a session. With several servers, of every row that has
this id. Exit code 1 if there is none.

The data of a session is shown only with --data: indented if it is JSON, else as
it is stored; characters that could command the terminal are written \\u{…}.
With --json it is the text exactly as stored, for programs to decode.

Examples
  session-pgsql show 8hJq2xZkPq0R5t7vWn3yBc6dFg9hKm1p
  session-pgsql show 8hJq2xZkPq0R5t7vWn3yBc6dFg9hKm1p --data
  session-pgsql show 8hJq2xZkPq0R5t7vWn3yBc6dFg9hKm1p --data --json |
    jq '.sessions[0].text | fromjson'

JSON: { "sessions": [{ the fields of list, "server", "text" with --data }] }`,
  flags: { data: { type: 'boolean', about: 'with the data that the session holds' } },
  positionals: [1, 1],

  async run(context) {
    const { arguments: given, output, servers, settings } = context
    const id = given.positionals[0] as string
    checkWholeId(id)
    const rows = await Promise.all(
      servers.map(async (server) => {
        const stored = await findRow(server.table, storedId(id), context.deadline())
        return stored && { server: server.name, stored }
      }),
    )
    const found = rows.filter((row) => row !== undefined)
    if (output.isJson) {
      output.json({
        sessions: found.map(({ server, stored }) => ({
          ...sessionJson(infoOf(stored), remaining(stored) > 0, output),
          server,
          ...(given.has('data') ? { text: stored.text } : {}),
        })),
      })
    } else {
      if (found.length === 0) output.error('there is no such session')
      for (const [at, { server, stored }] of found.entries()) {
        if (at > 0) output.line()
        if (settings.db.length > 1) output.facts([['Server', server]])
        print(stored, context)
      }
    }
    return found.length === 0 ? 1 : 0
  },
}

function print(stored: StoredSession, { arguments: given, output }: Context): void {
  const info = infoOf(stored)
  const left = remaining(stored)
  output.facts([
    ['Id', output.id(info.id)],
    ['Name', info.name ?? '-'],
    ['Field', info.custom ?? '-'],
    ['State', left > 0 ? 'active' : 'expired'],
    ['Created', moment(info.created)],
    ['  from', info.addressCreated ?? '-'],
    ['Modified', moment(info.modified)],
    ['  from', info.addressModified ?? '-'],
    ['Expires', info.expires === null ? 'never' : moment(info.expires)],
    ['Uses', number(info.accesses)],
    [
      'Errors',
      `${plural(info.errors, 'error')}, ${plural(info.warnings, 'warning')}, ${plural(info.notices, 'notice')}`,
    ],
    ['  last', info.errorMessage ?? '-'],
    ['Data', `${plural(stored.text.length, 'character')}${given.has('data') ? '' : '; --data shows them'}`],
  ])
  if (given.has('data')) output.line(`\n${visible(readable(stored.text), true)}`)
}

function readable(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text
  }
}
