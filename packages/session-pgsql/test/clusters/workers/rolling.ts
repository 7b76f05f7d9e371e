import type { SaveHandler, SaveHandlerOptions, SessionPgsqlError, SessionRecord } from '../../../src/index.ts'
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

/**
 * A message between processes about the session at a place: it was created; it is about to be destroyed; or no request
 * uses it any more, in answer to that.
 */
export interface Placed {
  readonly place: number
  readonly id: string
  readonly state: 'created' | 'closing' | 'unused'
}

/** A message to a process: it continues with these options, as if it had been replaced by a process that has them. */
export interface Restarted {
  readonly options: SaveHandlerOptions<Data>
}

/**
 * A process with traffic on sessions that it shares with others: reads, writes that add a key of their own, touches,
 * and from time to time a destroy, after which a new session takes the place. No request that has read a session writes
 * it after its destroy: if the home server goes down in between, the fallback server does not know of the destroy
 * (docs/high-availability.md, Limits). Returns its history after the message 'stop'. What reads contain is not part of it: a fallback server has the sessions as they were last read, and the
 * changes that it lacks are merged when the home server is back.
 */
export default async function rolling(input: RollingInput, channel: WorkerChannel): Promise<Operation[]> {
  const { db, options, name, callers, seed, owned, foreign, placed = [], library } = input
  const { SaveHandler: Handler } = (await import(
    library ?? '../../../src/index.ts'
  )) as typeof import('../../../src/index.ts')
  const start = async (options: SaveHandlerOptions<Data>): Promise<SaveHandler<Data>> => {
    const started = new Handler<Data>({ db, gcInterval: 0, ...options })
    started.on('error', () => {})
    await started.open()
    return started
  }
  let handler = await start(options)
  const random = randomOf(seed)
  const history: Operation[] = []
  const current = new Map(placed.map(({ place, id }) => [place, id]))
  const ended: string[] = []
  /** The number of requests that use a session, and whom to tell when there is none. */
  const uses = new Map<string, number>()
  const whenUnused = new Map<string, () => void>()
  /** Destroys that wait for the other process. */
  const closing = new Map<string, () => void>()
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
    channel.send({ place, id, state: 'created' } satisfies Placed)
  }

  /** Lets no further request use a session, and waits for those that do. */
  async function closeHere(place: number, id: string): Promise<void> {
    if (current.get(place) === id) current.delete(place)
    if ((uses.get(id) ?? 0) > 0) await new Promise<void>((resolve) => whenUnused.set(id, resolve))
  }

  async function using(id: string, work: () => Promise<unknown>): Promise<void> {
    uses.set(id, (uses.get(id) ?? 0) + 1)
    await work()
    const left = (uses.get(id) as number) - 1
    uses.set(id, left)
    if (left === 0) whenUnused.get(id)?.()
  }

  async function destroy(place: number, id: string): Promise<void> {
    if (current.get(place) !== id) return
    const closed = new Promise<void>((resolve) => closing.set(id, resolve))
    channel.send({ place, id, state: 'closing' } satisfies Placed)
    await Promise.all([closeHere(place, id), closed])
    // The other process has ended.
    if (!isRunning) return
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
        await using(id, () =>
          record(
            id,
            'touch',
            () => handler.touch(id),
            (found) => ({ outcome: found ? 'found' : 'absent' }),
          ),
        )
      } else {
        await using(id, () => write(id))
      }
      await new Promise((resolve) => setTimeout(resolve, 5 + random() * 20))
    }

    async function write(id: string): Promise<void> {
      const base = random() < 0.5 ? known.get(id) : await read(id)
      if (base === undefined) return
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
  }

  for (const place of owned) if (!current.has(place)) await create(place)
  channel.send('running')
  const traffic = Array.from({ length: callers }, (_, caller) => call(caller))
  for (;;) {
    const message = (await channel.receive()) as 'stop' | Placed | Restarted
    if (message === 'stop') break
    if ('options' in message) {
      const before = handler
      handler = await start(message.options)
      await before.close()
      channel.send('restarted')
      continue
    }
    const { place, id, state } = message
    if (state === 'created') current.set(place, id)
    else if (state === 'unused') closing.get(id)?.()
    else {
      void closeHere(place, id).then(() => {
        ended.push(id)
        channel.send({ place, id, state: 'unused' } satisfies Placed)
      })
    }
  }
  isRunning = false
  for (const resolve of closing.values()) resolve()
  await Promise.all(traffic)
  await handler.close()
  return history
}
