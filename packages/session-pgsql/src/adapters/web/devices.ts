import type { SaveHandler } from '../../save-handler.ts'
import { type Device, type Devices, deviceOf, handleOf } from '../../session/device.ts'
import type { SessionRecord } from '../../session/record.ts'
import { idChangesOf, isLeaving, otherIds, type Stored, shownData } from './id-changes.ts'
import type { SessionRows } from './session-rows.ts'

/** The rows of one session: more than one while its id changes. */
interface Family {
  readonly shown: SessionRecord<Stored>
  readonly rows: readonly SessionRecord<Stored>[]
  /** The handles of all rows. */
  readonly handles: ReadonlySet<string>
}

/** The sessions with one custom field. A session whose id is changing is one device. */
export class UserDevices {
  readonly #sessions: SaveHandler<Stored>
  readonly #rows: SessionRows
  readonly #field: string
  readonly #current: string | undefined

  /** @param current the id of the request's session */
  constructor(sessions: SaveHandler<Stored>, rows: SessionRows, field: string, current: string | undefined) {
    this.#sessions = sessions
    this.#rows = rows
    this.#field = field
    this.#current = current && handleOf(current)
  }

  async list(): Promise<Devices<Stored>> {
    const found = await this.#sessions.findByField(this.#field)
    const devices = familiesOf(found).map(
      (family): Device<Stored> =>
        deviceOf(family.shown, shownData(family.shown.data), this.#isCurrent(family)),
    )
    return Object.defineProperty(devices, 'missing', { value: found.missing }) as Devices<Stored>
  }

  /** @returns whether the session was found, and whether it is the request's */
  async end(handle: string): Promise<'ended' | 'ended current' | 'unknown'> {
    const found = await this.#sessions.findByField(this.#field)
    const family = familiesOf(found).find(({ handles }) => handles.has(handle))
    if (family === undefined) {
      // Rejects if it may be on a server that cannot be reached.
      return (await this.#sessions.endDevice(this.#field, handle)) ? 'ended' : 'unknown'
    }
    for (const row of family.rows) await this.#rows.destroy(row)
    return this.#isCurrent(family) ? 'ended current' : 'ended'
  }

  #isCurrent({ handles }: Family): boolean {
    return this.#current !== undefined && handles.has(this.#current)
  }
}

/** Joins the rows that name each other as the old and the new id of one session. */
function familiesOf(records: readonly SessionRecord<Stored>[]): Family[] {
  const byHandle = new Map(records.map((record) => [handleOf(record.id), record]))
  const neighbours = new Map([...byHandle.keys()].map((handle) => [handle, new Set<string>()]))
  for (const [handle, record] of byHandle) {
    for (const id of otherIds(idChangesOf(record))) {
      const other = handleOf(id)
      neighbours.get(handle)?.add(other)
      neighbours.get(other)?.add(handle)
    }
  }
  const families: Family[] = []
  const seen = new Set<string>()
  for (const start of byHandle.keys()) {
    if (seen.has(start)) continue
    const handles = new Set([start])
    for (const handle of handles) for (const other of neighbours.get(handle) ?? []) handles.add(other)
    for (const handle of handles) seen.add(handle)
    const rows = [...handles].flatMap((handle) => byHandle.get(handle) ?? [])
    const shown = rows.find((row) => !isLeaving(idChangesOf(row)))
    if (shown !== undefined) families.push({ shown, rows, handles })
  }
  return families
}
