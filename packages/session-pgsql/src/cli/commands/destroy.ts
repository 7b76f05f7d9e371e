import type { Command } from '../command.ts'
import { UsageError } from '../flags.ts'
import { plural } from '../output.ts'

export const destroy: Command = {
  name: 'destroy',
  usage: 'ID… | --field VALUE',
  summary: 'end sessions for good, by id or by custom field',
  details: `
Destroys at once and does not ask. A request that is under way does not bring a
destroyed session back.

By id: exit code 1 if one of them is not there or had expired already (what was
expired is removed all the same). By field: every session with this value, "log
out everywhere"; says how many there were, and none is no failure.

Examples
  session-pgsql destroy 8hJq2xZkPq0R5t7vWn3yBc6dFg9hKm1p
  session-pgsql destroy --field 4711
  session-pgsql list --address 203.0.113.7 --full-ids --json |
    jq -r '.sessions[].id' | xargs session-pgsql destroy --

JSON: { "destroyed": number }`,
  flags: { field: { type: 'string', value: 'VALUE', about: 'all sessions with this custom field' } },
  positionals: [0, Number.POSITIVE_INFINITY],

  async run({ arguments: given, handler, output }) {
    const field = given.text('field')
    const ids = new Set(given.positionals)
    if ((field === undefined) === (ids.size === 0)) {
      throw new UsageError('expected either ids or --field VALUE')
    }
    let destroyed: number
    if (field === undefined) {
      for (const id of ids) checkWholeId(id)
      const there = await Promise.all([...ids].map((id) => handler.destroy(id)))
      destroyed = there.filter(Boolean).length
    } else {
      destroyed = await handler.destroyByField(field)
    }
    if (output.isJson) output.json({ destroyed })
    else output.line(`${plural(destroyed, 'session')} destroyed.`)
    if (field !== undefined || destroyed === ids.size) return 0
    if (!output.isJson) {
      output.error(
        ids.size === 1
          ? 'there is no such session, or it had expired'
          : `${plural(ids.size - destroyed, 'session')} of ${ids.size} not there, or expired`,
      )
    }
    return 1
  },
}

/** An id copied from a table does not fit anything: better said than "no such session". */
export function checkWholeId(id: string): void {
  if (!id.endsWith('…')) return
  throw new UsageError('this id is shortened; list --full-ids shows whole ones')
}
