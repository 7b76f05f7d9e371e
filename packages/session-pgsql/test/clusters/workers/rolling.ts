import type { SaveHandlerOptions, SessionPgsqlError, SessionRecord } from '../../../src/index.ts'
import type { WorkerChannel } from '../../support/processes.ts'
import { keyOf, now, type Operation } from '../history.ts'
import { randomOf } from '../traffic.ts'

type Data = Record<string, number>

export interface RollingInput {
  readonly db: string[]
  readonly options: SaveHandlerOptions<Data>
  /** Unique among the processes. */
  readonly name: string
  readonly callers: number
  readonly seed: number
  /** The places whose sessions this process creates and destroys, one after the other; and those of other processes. */
  readonly owned: readonly number[]
  readonly foreign: readonly number[]
  /** The sessions that are already at places. Default: none. */
  readonly placed?: readonly Placed[]
  /** URL of the library's module. Default: this version's. */
  readonly library?: string | undefined
}

/** A message between processes: the session that is now at a place. */
export interface Placed {
  readonly place: number
  readonly id: string
}

/**
 * A process with traffic on sessions that it shares with others: reads, writes that add a key of their own, touches,
 * and from time to time a destroy, after which a new session takes the place. Returns its history after the message
 * 'stop'. What reads contain is not part of it: a fallback server has the sessions as they were last read, and the
 * changes that it lacks are merged when the home server is back.
 */
export default async function rolling(input: RollingInput, channel: WorkerChannel): Promise<Operation[]> {
  const { db, options, name, callers, seed, owned, foreign, placed = [], library } = input
  const { SaveHandler } = (await import(
    library ?? '../../../src/index.ts'
  )) as typeof import('../../../src/index.ts')
  const handler = new SaveHandler<Data>({ db, gcInterval: 0, ...options })
  handler.on('error', () => {})
  const random = randomOf(seed)
  const history: Operation[] = []
  const current = new Map(placed.map(({ place, id }) => [place, id]))
  const ended: string[] = []
  let created = 0
  let isRunning = true

  /** Runs an operation and records it. `note` says what its result means. */
  async function record<T>(
    id: string,
    kind: Operation['kind'],
    work: () => Promise<T>,
    note: (result: T) => Pick<Operation, 'outcome' | 'wrote'>,
  ): Promise<T | undefined> {
    const begin = now()
    try {
      const result = await work()
      history.push({ id, kind, begin, end: now(), ...note(result) })
      return result
    } catch (error) {
      const { code } = error as SessionPgsqlError
      history.push({ id, kind, begin, end: now(), outcome: 'error', code })
      return undefined
    }
  }

  const read = (id: string): Promise<SessionRecord<Data> | undefined> =>
    record(
      id,
      'read',
      () => handler.read(id),
      (found) => ({ outcome: found === undefined ? 'absent' : 'found' }),
    )

  async function create(place: number): Promise<void> {
    const id = `${name}-${place}-${created++}`
    current.set(place, id)
    const write = () => handler.write(id, {}, { base: null })
    await record(id, 'create', write, () => ({ outcome: 'found' }))
    channel.send({ place, id } satisfies Placed)
  }

  async function destroy(place: number, id: string): Promise<void> {
    if (current.get(place) !== id) return
    current.delete(place)
    await record(
      id,
      'destroy',
      () => handler.destroy(id),
      () => ({ outcome: 'found' }),
    )
    ended.push(id)
    await create(place)
  }

  async function call(caller: number): Promise<void> {
    const writer = `${name}${caller}`
    const numbers = new Map<string, number>()
    const known = new Map<string, SessionRecord<Data>>()
    const places = [...owned, ...foreign]
    while (isRunning) {
      const place = places[Math.floor(random() * places.length)] as number
      const id = current.get(place)
      const kind = random()
      if (kind < 0.03 && ended.length > 0) {
        await read(ended[Math.max(0, ended.length - 1 - Math.floor(random() * 10))] as string)
      } else if (id === undefined) {
        // Another caller is about to create the next one, or another process.
      } else if (kind < 0.04 && owned.includes(place)) {
        await destroy(place, id)
      } else if (kind < 0.1) {
        await record(
          id,
          'touch',
          () => handler.touch(id),
          (found) => ({ outcome: found ? 'found' : 'absent' }),
        )
      } else {
        const base = random() < 0.5 ? known.get(id) : await read(id)
        if (base === undefined) continue
        const number = (numbers.get(id) ?? 0) + 1
        numbers.set(id, number)
        const data = { ...base.data, [keyOf(writer, number)]: 1 }
        const written = await record(
          id,
          'write',
          () => handler.write(id, data, { base }),
          ({ outcome }) => ({ outcome: outcome === 'gone' ? 'absent' : 'found', wrote: [writer, number] }),
        )
        if (written?.session === undefined) known.delete(id)
        else known.set(id, written.session)
      }
      await new Promise((resolve) => setTimeout(resolve, 5 + random() * 20))
    }
  }

  await handler.open()
  for (const place of owned) if (!current.has(place)) await create(place)
  channel.send('running')
  const traffic = Array.from({ length: callers }, (_, caller) => call(caller))
  for (;;) {
    const message = (await channel.receive()) as 'stop' | Placed
    if (message === 'stop') break
    const before = current.get(message.place)
    if (before !== undefined) ended.push(before)
    current.set(message.place, message.id)
  }
  isRunning = false
  await Promise.all(traffic)
  await handler.close()
  return history
}
