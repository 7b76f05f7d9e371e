import { isHashedId } from '../../session/stored-id.ts'
import { UsageError } from '../arguments.ts'
import type { Command, Context } from '../command.ts'
import { number, plural } from '../output.ts'

export const destroy: Command = {
  name: 'destroy',
  usage: 'ID... | --field VALUE | --where COLUMN=VALUE | --all',
  summary: 'destroy sessions by id, by custom field, by own columns, or all',
  details: `
Destroys the sessions immediately; only --all asks first. A request in progress
cannot restore a destroyed session.

ID       the id, or its hash as list shows it. The exit code is 1 if a session
         does not exist or has expired. The row of an expired session is removed
--field  every session with this value in its custom field ("log out
         everywhere"). It is not an error if there is none
--where  the same, for own columns (see --columns) with these values. It fails
         if the columns of sessions that may match are not filled
--all    the sessions of all users that began before the command, for example
         after a leak of session ids. Users can log in again meanwhile. gc
         removes the rows of sessions that had expired

Examples:
  session-pgsql destroy 8hJq2xZkPq0R5t7vWn3yBc6dFg9hKm1p
  session-pgsql destroy --field 4711
  session-pgsql destroy --all --name connect.sid
  session-pgsql list --address 203.0.113.7 --full-ids --json |
    jq -r '.sessions[].id' | xargs session-pgsql destroy --

JSON output:
  { "destroyed" }`,
  options: {
    field: {
      type: 'string',
      placeholder: 'VALUE',
      description: 'destroy all sessions with this custom field',
    },
    where: {
      type: 'string',
      placeholder: 'COLUMN=VALUE',
      description: 'destroy all sessions with this value in an own column; repeatable: all must match',
    },
    all: { type: 'boolean', description: 'destroy all sessions of all users' },
    name: {
      type: 'string',
      placeholder: 'NAME',
      description: 'with --all: only sessions of this name (the name of their cookie)',
    },
    yes: { type: 'boolean', description: 'with --all: do not ask' },
  },
  positionals: [0, Number.POSITIVE_INFINITY],

  async run(context) {
    const { arguments: args, handler, output } = context
    const field = args.text('field')
    const where = args.pairs('where')
    const ids = new Set(args.positionals)
    const isAll = args.has('all')
    const targets = [field !== undefined, where !== undefined, ids.size > 0, isAll].filter(Boolean)
    if (targets.length !== 1) {
      throw new UsageError('expected either ids, --field VALUE, --where COLUMN=VALUE, or --all')
    }
    if (!isAll && (args.has('name') || args.has('yes')))
      throw new UsageError('--name and --yes require --all')
    let destroyed: number
    if (isAll) {
      const name = args.text('name')
      if (!args.has('yes') && !(await isConfirmed(context, name))) {
        output.error('nothing was destroyed')
        return 1
      }
      destroyed = await handler.destroyAll({ name })
    } else if (where !== undefined) {
      destroyed = await handler.destroyWhere(where)
    } else if (field === undefined) {
      for (const id of ids) checkFullId(id)
      const results = await Promise.all(
        [...ids].map((id) => (isHashedId(id) ? handler.destroyListed(id) : handler.destroy(id))),
      )
      destroyed = results.filter(Boolean).length
    } else {
      destroyed = await handler.destroyByField(field)
    }
    if (output.isJson) output.json({ destroyed })
    else output.line(`${plural(destroyed, 'session')} destroyed.`)
    if (ids.size === 0 || destroyed === ids.size) return 0
    if (!output.isJson) {
      output.error(
        ids.size === 1
          ? 'the session does not exist or has expired'
          : `${number(ids.size - destroyed)} of ${number(ids.size)} sessions do not exist or have expired`,
      )
    }
    return 1
  },
}

/** Asks whether to destroy all sessions. @throws UsageError if there is no terminal to ask at */
async function isConfirmed(
  { confirm, output, settings }: Context,
  name: string | undefined,
): Promise<boolean> {
  if (confirm === undefined || output.isJson) throw new UsageError('--all asks at a terminal only; add --yes')
  const which = name === undefined ? '' : ` with the name ${name}`
  const where = settings.db.map((entry) => entry.name).join('; ')
  return confirm(`Destroy all sessions${which} of all users on ${where}?`)
}

/** Rejects an id copied from a table, which matches no session. @throws UsageError */
export function checkFullId(id: string): void {
  if (!id.endsWith('…')) return
  throw new UsageError('the id is shortened; "session-pgsql list --full-ids" prints full ids')
}
