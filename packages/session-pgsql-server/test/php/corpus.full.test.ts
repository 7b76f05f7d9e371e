import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SaveHandler } from 'session-pgsql'
import { expect, test } from 'vitest'
import { queryOnce } from '../../../session-pgsql/test/support/connect.ts'
import { writePhpIni } from './kit/php.ts'
import { describeWithPhp } from './kit/place.ts'

const SEED = 20_261_123
const script = fileURLToPath(new URL('../../../session-pgsql/test/codec/corpus.php', import.meta.url))

/** Processes of PHP. */
const PROCESSES = ['a', 'b', 'c', 'd']

/** Sessions for each of PHP's formats. */
const COUNTS = [
  ['php', 10_000],
  ['php_serialize', 1000],
  ['php_binary', 1000],
] as const

describeWithPhp('values that PHP makes, through the gateway and through Node', (place) => {
  test.each(COUNTS)(
    'are stored byte for byte: %s, %i sessions',
    { timeout: 180_000 },
    async (codec, count) => {
      const db = await place.database()
      const gateway = await place.gateway({ db, argv: ['--codec', codec] })
      const folder = await mkdtemp(join(tmpdir(), 'session-pgsql-corpus-'))
      place.after(() => rm(folder, { recursive: true, force: true }))
      const ini = await writePhpIni(folder, {
        ...gateway.ini('prefix=PHPSESSID:&persistent=1'),
        display_errors: 'stderr',
      })
      const corpus = (mode: string, argv: readonly (string | number)[], input = '') =>
        php(['-c', ini, script, mode, codec, ...argv.map(String)], input)

      // Several processes: one computes while another waits for the database.
      const share = count / PROCESSES.length
      const parts = await Promise.all(
        PROCESSES.map((name, index) => corpus('store', [SEED + index, share, `${name}-`])),
      )
      const made = new Map(
        parts.flatMap((lines, part) => lines.map((line, n) => [`${PROCESSES[part]}-${n}`, line])),
      )
      expect(made.size).toBe(count)
      const ids = [...made.keys()]
      const load = async () => {
        const lists = PROCESSES.map((_, index) => ids.slice(index * share, (index + 1) * share))
        const lines = await Promise.all(lists.map((list) => corpus('load', [], `${list.join('\n')}\n`)))
        return new Map(lines.flat().map((line, index) => [ids[index] as string, line]))
      }
      expect(differences(await load(), made)).toEqual([])

      // Node reads each session and writes it back unchanged.
      const stored = await texts(db)
      const sessions = new SaveHandler<Record<string, unknown>>({
        db,
        codec,
        gcInterval: 0,
        operationTimeout: 60,
      })
      place.after(() => sessions.close())
      const writeAll = async (change: (data: Record<string, unknown>) => void) => {
        for (let from = 0; from < count; from += 500) {
          const writes = ids.slice(from, from + 500).map(async (id) => {
            const session = await sessions.read(id)
            if (session === undefined) throw new Error(`${id} is missing`)
            change(session.data)
            return (await sessions.write(id, session.data, { base: session })).outcome
          })
          expect(new Set(await Promise.all(writes))).toEqual(new Set(['updated']))
        }
      }
      await writeAll(() => {})
      expect(differences(await texts(db), stored)).toEqual([])

      // Node adds a key to each session: PHP reads it after its own variables, which are unchanged.
      await writeAll((data) => {
        data['set by node'] = { n: 1 }
      })
      const added = { php: 'set by node|a:1:{s:1:"n";i:1;}', php_binary: '\x0bset by nodea:1:{s:1:"n";i:1;}' }
      const loaded = await load()
      if (codec === 'php_serialize') {
        const ofNode = Buffer.from('s:11:"set by node";a:1:{s:1:"n";i:1;}}')
        for (const bytes of loaded.values()) {
          expect(Buffer.from(bytes, 'base64').subarray(-ofNode.length).equals(ofNode)).toBe(true)
        }
      } else {
        const ofNode = Buffer.from(added[codec])
        const expected = [...made].map(([id, bytes]): [string, string] => [
          id,
          Buffer.concat([Buffer.from(bytes, 'base64'), ofNode]).toString('base64'),
        ])
        expect(differences(loaded, new Map(expected))).toEqual([])
      }
    },
  )
})

/** Returns the first three differences. */
function differences(seen: Map<string, string>, expected: Map<string, string>): unknown[] {
  const wrong: unknown[] = seen.size === expected.size ? [] : [{ seen: seen.size, expected: expected.size }]
  for (const [id, text] of expected) {
    if (seen.get(id) !== text && wrong.length < 3) wrong.push({ id, expected: text, seen: seen.get(id) })
  }
  return wrong
}

async function texts(db: string): Promise<Map<string, string>> {
  const rows = await queryOnce<{ sess_id: string; sess_data: string }>(
    db,
    'SELECT sess_id, sess_data FROM php_session',
  )
  return new Map(rows.map((row) => [row.sess_id, row.sess_data]))
}

function php(argv: readonly string[], input: string): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const child = spawn('php', argv, { timeout: 170_000 })
    let output = ''
    let errors = ''
    child.stdout.setEncoding('latin1').on('data', (chunk: string) => {
      output += chunk
    })
    child.stderr.on('data', (chunk) => {
      errors += chunk
    })
    child.once('error', reject)
    child.once('close', (code, signal) => {
      if (code === 0) resolve(output.trimEnd().split('\n'))
      else reject(new Error(`php ended with ${signal ?? code}: ${errors}${output.slice(-500)}`))
    })
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  })
}
