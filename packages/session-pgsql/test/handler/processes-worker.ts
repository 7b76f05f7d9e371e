import { SaveHandler } from '../../src/index.ts'
import type { WorkerChannel } from '../support/processes.ts'
import type { Data } from './kit.ts'

export type Task =
  /** Creates tables at the same time as other processes. */
  | { task: 'open'; url: string; tables: string[] }
  /** Sets keys in one session, in one write each. */
  | { task: 'keys'; url: string; id: string; keys: string[] }
  /** Appends these elements to a list in one session, each with a write of its own. */
  | { task: 'push'; url: string; id: string; elements: number[] }
  /** Adds one to a counter in one session, `times` times at once. */
  | { task: 'count'; url: string; id: string; times: number }
  /** Reads and writes, and ends without process.exit(). */
  | { task: 'exit'; url: string; id: string }
  /** Collects garbage with a clock that is wrong by `seconds`. */
  | { task: 'clock'; url: string; seconds: number }
  /** Reads a session and adds a key. */
  | { task: 'read'; url: string; id: string }

export default async function work(input: Task, channel: WorkerChannel): Promise<unknown> {
  const open = (options = {}): SaveHandler<Data> =>
    new SaveHandler<Data>({
      db: input.url,
      operationTimeout: 20,
      logger: false,
      ...options,
    })

  switch (input.task) {
    case 'open': {
      const handlers = input.tables.map((table) => open({ table }))
      await Promise.all(handlers.map((handler) => handler.open()))
      for (const handler of handlers)
        await handler.write(`from ${process.pid}`.replace(' ', '-'), { pid: process.pid })
      await Promise.all(handlers.map((handler) => handler.close()))
      return 'opened'
    }
    case 'keys': {
      const sessions = open()
      await sessions.open()
      channel.send('ready')
      await channel.receive()
      const base = await sessions.read(input.id)
      const written = await Promise.all(
        input.keys.map((key) => sessions.write(input.id, { ...base?.data, [key]: process.pid }, { base })),
      )
      await sessions.close()
      return written.map(({ outcome }) => outcome)
    }
    case 'push': {
      const sessions = open()
      await sessions.open()
      channel.send('ready')
      await channel.receive()
      const base = await sessions.read(input.id)
      const written = await Promise.all(
        input.elements.map((element) =>
          sessions.write(input.id, { ...base?.data, cart: [...(base?.data.cart ?? []), element] }, { base }),
        ),
      )
      await sessions.close()
      return written.map(({ outcome }) => outcome)
    }
    case 'count': {
      const sessions = open()
      await sessions.open()
      channel.send('ready')
      await channel.receive()
      const count = (data: Data): number => ++data.n
      const updated = await Promise.all(
        Array.from({ length: input.times }, () => sessions.update(input.id, count)),
      )
      await sessions.close()
      return updated.map(({ value }) => value)
    }
    case 'exit': {
      const sessions = open({ gcInterval: 1000 })
      await sessions.write(input.id, { a: 1 })
      await Promise.all([sessions.read(input.id), sessions.touch(input.id), sessions.count()])
      await sessions.close()
      // Only the channel to the parent may keep the process alive.
      process.removeAllListeners('disconnect')
      channel.send('closed')
      process.disconnect()
      return new Promise(() => {})
    }
    case 'clock': {
      const { now } = Date
      Date.now = () => now() + input.seconds * 1000
      const sessions = open()
      const background: (string | undefined)[] = []
      sessions.on('error', (error) => background.push((error as { code?: string }).code))
      const result = await sessions.gc().catch((error) => error.code)
      await sessions.close()
      const eager = open({ gcInterval: -1 })
      const reported = new Promise((resolve) =>
        eager.on('error', (error) => resolve((error as { code?: string }).code)),
      )
      await eager.read('x')
      const eagerError = Math.abs(input.seconds) > 60 ? await reported : undefined
      await eager.close()
      return { result, eagerError, background }
    }
    case 'read': {
      const sessions = open()
      const session = await sessions.read(input.id)
      const { outcome } = await sessions.write(
        input.id,
        { ...session?.data, zone: process.env.TZ },
        { base: session },
      )
      await sessions.close()
      return {
        data: session?.data,
        outcome,
        expires: session?.expires,
        created: session?.created,
        zone: new Date().getTimezoneOffset(),
      }
    }
  }
}
