import { appendFile, mkdtemp, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { AuditLog } from '../../src/console/audit.ts'
import { CHAIN_START, endAfter, lineAfter, verifyChain } from '../../src/console/audit-chain.ts'
import { readAuditLines } from '../../src/console/audit-file.ts'
import { run } from '../../src/run.ts'

let folder: string
let file: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'session-pgsql-audit-'))
  file = join(folder, 'audit.jsonl')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const problems: string[] = []
const open = (...sinks: ((line: string) => void)[]) =>
  new AuditLog(file, sinks, (message) => problems.push(message))

const act = (what: string) => ({ role: 'operator', address: '192.0.2.1', act: 'look', what }) as const
const linesOf = async () => (await readFile(file, 'utf8')).trimEnd().split('\n')

async function write(count: number): Promise<string[]> {
  const log = open()
  for (let n = 1; n <= count; n++) await log.add(act(`${n}…`))
  await log.close()
  return linesOf()
}

async function verify(): Promise<{ code: number; said: string }> {
  let said = ''
  const output = { write: (text: string) => (said += text) }
  const signal = new AbortController().signal
  const code = await run(['audit', 'verify', file], {
    environment: {},
    stdout: output,
    stderr: output,
    signal,
  })
  return { code, said }
}

test('verifies a log that a restart continues', async () => {
  await write(3)
  const lines = await write(2)
  expect(lines.map((line) => JSON.parse(line).number)).toEqual([1, 2, 3, 4, 5])
  const { code, said } = await verify()
  expect([code, said]).toEqual([0, expect.stringContaining('entries 1 to 5;')])
  expect(said).toContain(verifyChain(lines).end.hash)
})

test.each<[string, (lines: string[]) => string[], RegExp]>([
  [
    'changed',
    (all) => all.map((line) => line.replace('3…', '9…')),
    /Line 4: the entry before it was changed/,
  ],
  ['removed', (all) => all.toSpliced(2, 2), /Line 3: entries 3 to 4 are missing/],
  ['added', (all) => all.toSpliced(2, 0, all[1] as string), /Line 3: entry 2 follows entry 2/],
  ['moved', (all) => [0, 2, 1, 3, 4, 5].map((at) => all[at] as string), /Line 2: entries 2 to 2 are missing/],
  ['replaced by another text', (all) => all.with(2, 'nothing'), /Line 3 is not an entry/],
  [
    'renumbered',
    (all) => all.toSpliced(2, 1).map((line, at) => line.replace(/"number":\d/, `"number":${at + 1}`)),
    /Line 2|Line 3/,
  ],
])('detects a line that was %s', async (_, change, expected) => {
  const lines = await write(6)
  await writeFile(file, `${change(lines).join('\n')}\n`)
  const { code, said } = await verify()
  expect([code, said]).toEqual([1, expect.stringMatching(expected)])
})

test('a copy elsewhere detects that the last lines were removed: the printed hash differs', async () => {
  const copy: string[] = []
  const log = open((line) => copy.push(line))
  for (const what of ['1…', '2…', '3…']) await log.add(act(what))
  await log.close()
  const lines = await linesOf()
  expect(copy).toEqual(lines)
  await writeFile(file, `${lines.slice(0, 2).join('\n')}\n`)
  const { code, said } = await verify()
  expect(code).toBe(0)
  expect(said).not.toContain(verifyChain(copy).end.hash)
})

test('continues after a line that a crash has cut off, and says so', async () => {
  const [first, second = ''] = await write(2)
  await writeFile(file, `${first}\n${second.slice(0, 30)}`)
  expect(await verify()).toMatchObject({ code: 0, said: expect.stringContaining('Line 2 is incomplete') })
  const lines = await write(2)
  expect(lines).toHaveLength(4)
  expect(await verify()).toMatchObject({ code: 0, said: expect.stringContaining('Line 2 is incomplete') })
  // What is left of it is part of the chain, too.
  await writeFile(file, `${lines.with(1, second.slice(0, 29)).join('\n')}\n`)
  expect(await verify()).toMatchObject({ code: 1, said: expect.stringContaining('Line 2 is not an entry') })
})

test('is one chain when several consoles share the file, and across a change of files', async () => {
  // An earlier chain of almost 4 MB.
  let end = CHAIN_START
  let text = ''
  while (text.length < 4 * 1024 * 1024 - 2000) {
    const line = lineAfter(end, { at: '2026-01-01', ...act('x'.repeat(1000)) })
    end = endAfter(end, line)
    text += `${line}\n`
  }
  await writeFile(file, text)
  const [one, other] = [open(), open()]
  await Promise.all(Array.from({ length: 40 }, (_, n) => (n % 2 ? one : other).add(act(`${n}…`))))
  await Promise.all([one.close(), other.close()])
  expect((await stat(`${file}.1`)).size).toBeGreaterThan(1_000_000)
  expect(await verify()).toMatchObject({
    code: 0,
    said: expect.stringContaining(`entries 1 to ${end.number + 40};`),
  })
  expect(await readAuditLines(file)).toHaveLength(end.number + 40)
})

test('takes the lock that a process has left behind', async () => {
  await appendFile(`${file}.lock`, '')
  await utimes(`${file}.lock`, 1, 1)
  expect(await write(1)).toHaveLength(1)
})

test('records every act of operators, and of what readers and failed sign-ins repeat as much as fits', async () => {
  const log = open()
  const signIn = { role: 'reader', address: '192.0.2.1', act: 'sign-in', what: '' } as const
  const failed = { address: '192.0.2.2', act: 'sign-in-failed', what: '' } as const
  for (let n = 0; n < 70; n++) await log.add(signIn)
  for (let n = 0; n < 60; n++) await log.add(failed)
  for (let n = 0; n < 60; n++) await log.add(act('…'))
  expect(await linesOf()).toHaveLength(50 + 50 + 60)
  await log.close()
  const entries = (await linesOf()).map((line) => JSON.parse(line))
  expect(entries.slice(-2)).toMatchObject([
    { act: 'sign-in', omitted: 19 },
    { act: 'sign-in-failed', omitted: 9 },
  ])
  expect(await verify()).toMatchObject({ code: 0 })
})

test('refuses a file that is empty, missing, or no audit log', async () => {
  expect(await verify()).toMatchObject({ code: 2, said: expect.stringContaining('ENOENT') })
  await writeFile(file, '')
  expect(await verify()).toMatchObject({ code: 1, said: expect.stringContaining('no entries') })
  await writeFile(file, '{"at":"2026-01-01","act":"gc"}\n{"at":"2026-01-01","act":"gc"}\n')
  expect(await verify()).toMatchObject({ code: 1 })
  expect(problems).toEqual([])
})
