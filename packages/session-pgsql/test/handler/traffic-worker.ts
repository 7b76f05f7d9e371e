import { SaveHandler, type SessionRecord } from '../../src/index.ts'
import type { WorkerChannel } from '../support/processes.ts'
import type { Data } from './kit.ts'

export interface TrafficInput {
  url: string
  clients: number
  operationTimeout: number
}

/** What happened since the previous phase. */
export interface Phase {
  done: number
  /** Number of clients with a successful operation. */
  clients: number
  errors: Record<string, number>
  /** Duration of the slowest operation, in milliseconds. */
  slowest: number
}

export interface TrafficResult {
  /** Violated guarantees: missing sessions, lost writes, destroyed sessions that exist again. */
  violations: string[]
  unhandled: string[]
  rounds: number
}

/**
 * Runs clients that create, read, write, touch and destroy sessions of their own, and check what they read. Ends at the
 * message 'stop'. Any other message requests the current phase.
 */
export default async function traffic(input: TrafficInput, channel: WorkerChannel): Promise<TrafficResult> {
  const unhandled: string[] = []
  process.on('unhandledRejection', (error) => unhandled.push(String(error)))
  process.on('uncaughtException', (error) => unhandled.push(String(error)))
  const sessions = new SaveHandler<Data>({
    db: input.url,
    operationTimeout: input.operationTimeout,
    gcInterval: -1,
    logger: false,
  })
  // On a busy machine, opening may take longer than operationTimeout.
  while (
    !(await sessions.open().then(
      () => true,
      () => false,
    ))
  );

  const violations: string[] = []
  const destroyed: string[] = []
  let phase = { done: 0, clients: new Set<number>(), errors: {} as Record<string, number>, slowest: 0 }
  let rounds = 0
  let going = true

  /** Returns the result, or the error. */
  async function attempt<T>(
    client: number,
    work: () => Promise<T>,
  ): Promise<{ value: T } | { error: Error & { code?: string } }> {
    const start = performance.now()
    try {
      const value = await work()
      phase.done++
      phase.clients.add(client)
      return { value }
    } catch (error) {
      const { code = String(error) } = error as { code?: string }
      phase.errors[code] = (phase.errors[code] ?? 0) + 1
      // Waits before the next try, so that a server that is down is not flooded.
      await new Promise((resolve) => setTimeout(resolve, 20))
      return { error: error as Error }
    } finally {
      phase.slowest = Math.max(phase.slowest, performance.now() - start)
    }
  }

  async function run(client: number): Promise<void> {
    for (let generation = 0; going; generation++) {
      const id = `traffic-${process.pid}-${client}-${generation}`
      const first = await attempt(client, () => sessions.write(id, { n: 0 }, { base: null }))
      // It is unknown whether the session exists, so that nothing can be checked.
      if ('error' in first) continue
      let possible = [0]
      for (let step = 0; going && step < 20; step++) {
        rounds++
        const read = await attempt(client, () => sessions.read(id))
        if ('error' in read) continue
        const base: SessionRecord<Data> | undefined = read.value
        if (base === undefined) {
          violations.push(`${id} reads as absent`)
          break
        }
        const n = base.data.n as number
        if (!possible.includes(n)) violations.push(`${id} contains ${n} instead of ${possible}`)
        possible = [n]
        const written = await attempt(client, () => sessions.write(id, { n: n + 1 }, { base }))
        if ('error' in written) possible = [n, n + 1]
        else if (written.value.outcome !== 'updated') violations.push(`${id}: ${written.value.outcome}`)
        else possible = [n + 1]
        const touched = await attempt(client, () => sessions.touch(id))
        if ('value' in touched && !touched.value) violations.push(`${id} cannot be touched`)
      }
      const end = await attempt(client, () => sessions.destroy(id))
      if ('value' in end) destroyed.push(id)
    }
  }

  const clients = Array.from({ length: input.clients }, (_, client) => run(client))
  for (;;) {
    if ((await channel.receive()) === 'stop') break
    channel.send({ ...phase, clients: phase.clients.size } satisfies Phase)
    phase = { done: 0, clients: new Set(), errors: {}, slowest: 0 }
  }
  going = false
  await Promise.all(clients)
  await sessions.close()
  const checker = new SaveHandler<Data>({ db: input.url, operationTimeout: 20, gcInterval: 0 })
  await Promise.all(
    destroyed.slice(-500).map(async (id) => {
      if ((await checker.read(id)) !== undefined) violations.push(`${id} exists again`)
    }),
  )
  await checker.close()
  return { violations: violations.slice(0, 20), unhandled, rounds }
}
