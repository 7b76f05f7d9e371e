import { describe, expect, test } from 'vitest'
import type { SaveHandler } from '../../src/index.ts'
import { until } from '../support/wait.ts'
import { Traffic } from './traffic.ts'

type Data = Record<string, number>

interface Kept {
  data: Data
  accesses: number
}

/** An in-memory save handler whose methods a test can break. */
class Memory {
  readonly kept = new Map<string, Kept>()
  /** Whether a server is down from the start. */
  isDown = false
  readonly #down: (() => void)[] = []

  on(event: string, call: () => void): void {
    if (event === 'serverDown') this.#down.push(call)
  }

  fall(): void {
    for (const call of this.#down) call()
  }

  async read(id: string): Promise<Kept | undefined> {
    return structuredClone(this.kept.get(id))
  }

  async write(id: string, data: Data, { base }: { base: Kept | null }) {
    const there = this.kept.get(id)
    if (there === undefined && base !== null) return { outcome: 'gone' }
    const changes = Object.entries(data).filter(([key, value]) => base?.data[key] !== value)
    const session = {
      data: { ...there?.data, ...Object.fromEntries(changes) },
      accesses: (there?.accesses ?? 0) + 1,
    }
    this.kept.set(id, session)
    return { outcome: 'updated', session: structuredClone(session) }
  }

  async update(id: string, change: (data: Data) => void, { base }: { base: Kept | null }) {
    const data = structuredClone(base?.data ?? {})
    change(data)
    return this.write(id, data, { base })
  }

  async destroy(id: string): Promise<boolean> {
    return this.kept.delete(id)
  }
}

/** Returns what the checker finds. @param atEnd called before the final reads */
async function brokenOf(memory: Memory, atEnd: () => void = () => {}): Promise<string[]> {
  const { destroy } = memory
  let destroyed = 0
  memory.destroy = async (id) => {
    destroyed++
    return destroy.call(memory, id)
  }
  const handler = memory as unknown as SaveHandler<Data>
  const traffic = new Traffic([handler], 12, 5)
  if (memory.isDown) memory.fall()
  await until(
    () => traffic.broken.length > 0 || (traffic.acknowledged > 200 && destroyed > 3),
    'enough traffic',
  )
  await traffic.stop()
  atEnd()
  await traffic.check(handler)
  expect(traffic.errors).toEqual([])
  return traffic.broken
}

describe('the history checker', () => {
  test('finds nothing wrong with a correct store', async () => {
    expect(await brokenOf(new Memory())).toEqual([])
  })

  test('finds a lost acknowledged write although the next write succeeded', async () => {
    const memory = new Memory()
    const { write } = memory
    let n = 0
    memory.write = async (id, data, options) => {
      const before = memory.kept.get(id)
      const answer = await write.call(memory, id, data, options)
      if (++n % 10 === 0 && before !== undefined)
        memory.kept.set(id, { ...before, accesses: before.accesses + 1 })
      return answer
    }
    expect((await brokenOf(memory)).join()).toMatch(/: c\d+:\d+ had 1 acknowledged, and has 0/)
  })

  test('finds a stale read during the run although the final read is correct', async () => {
    const memory = new Memory()
    const { read } = memory
    const first = new Map<string, Kept>()
    memory.read = async (id) => {
      const found = await read.call(memory, id)
      if (found !== undefined && !first.has(id)) first.set(id, found)
      return found && first.get(id)
    }
    const atEnd = (): void => {
      memory.read = read
    }
    expect((await brokenOf(memory, atEnd)).join()).toMatch(/: c\d+ had \d+ acknowledged, and has/)
  })

  test('finds an access counter that decreases', async () => {
    const memory = new Memory()
    const { write } = memory
    let n = 0
    memory.write = async (id, data, options) => {
      const answer = await write.call(memory, id, data, options)
      const kept = memory.kept.get(id)
      if (++n % 10 === 0 && kept !== undefined) kept.accesses -= 1
      return answer
    }
    expect((await brokenOf(memory)).join()).toMatch(/writes acknowledged, and counts \d+ accesses/)
  })

  test('finds a destroyed session that is read again', async () => {
    const memory = new Memory()
    memory.destroy = async (id) => memory.kept.has(id)
    expect((await brokenOf(memory)).join()).toContain('was destroyed, and is back')
  })

  test('finds a session that is absent without a destroy', async () => {
    const memory = new Memory()
    const { read } = memory
    let n = 0
    memory.read = async (id) => (++n % 10 === 0 ? undefined : read.call(memory, id))
    expect((await brokenOf(memory)).join()).toContain('writes acknowledged, and is absent')
  })

  test('accepts sessions that are absent while a server is down, but not at the end', async () => {
    const memory = new Memory()
    const { read } = memory
    memory.isDown = true
    memory.read = async (id) => (id.endsWith('0') ? undefined : read.call(memory, id))
    const back = (): void => {
      memory.read = read
    }
    expect(await brokenOf(memory, back)).toEqual([])
    memory.read = async () => undefined
    expect((await brokenOf(memory)).join()).toContain('and is absent')
  })
})
