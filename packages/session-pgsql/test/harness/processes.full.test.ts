import { expect, test } from 'vitest'
import { isRunning } from '../support/process-tree.ts'
import { runWorkers, startWorker } from '../support/processes.ts'

const echo = new URL('./workers/echo.ts', import.meta.url)
const broken = new URL('./workers/broken.ts', import.meta.url)

test('eight workers run in eight processes and start at the same time', async () => {
  const inputs = [1, 2, 3, 4, 5, 6, 7, 8]
  const results = await runWorkers<{ input: number; pid: number; started: number }>(echo, inputs)
  expect(results.map((result) => result.input)).toEqual(inputs)
  expect(new Set([process.pid, ...results.map((result) => result.pid)]).size).toBe(9)
  const started = results.map((result) => result.started)
  expect(Math.max(...started) - Math.min(...started)).toBeLessThan(3000)
  expect(results.filter(({ pid }) => isRunning(pid))).toEqual([])
})

test('messages are passed in both directions', async () => {
  const worker = await startWorker<string>(echo, 'talk')
  worker.send('one')
  expect(await worker.receive()).toBe('received: one')
  worker.send('two')
  expect(await worker.result).toBe('and two')
})

test('an error, an early exit and a hang reject, and no process remains', async () => {
  await expect(runWorkers(echo, ['throw', 1])).rejects.toThrow('thrown in the worker')
  await expect(runWorkers(echo, ['exit'])).rejects.toThrow(/ended with 3[\s\S]*last words/)
  await expect(runWorkers(broken, [1])).rejects.toThrow('cannot be loaded')
  const worker = await startWorker(echo, 'hang', { timeoutMs: 1500 })
  const { pid } = worker
  await expect(worker.receive()).rejects.toThrow('within 1500 ms')
  await expect(worker.result).rejects.toThrow('within 1500 ms')
  await worker.kill()
  expect(isRunning(pid)).toBe(false)
})
