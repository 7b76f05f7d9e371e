import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { COMMANDS } from '../../src/gateway/commands.ts'
import { run } from '../../src/run.ts'

/** Compares the tables of docs/php.md with the code. */
const text = readFileSync(new URL('../../../../docs/php.md', import.meta.url), 'utf8')

function section(title: string): string {
  const start = text.indexOf(`# ${title}\n`)
  expect(start).toBeGreaterThan(0)
  const end = text.indexOf('\n#', start)
  return text.slice(start, end)
}

test('documents every flag, with its default', async () => {
  let help = ''
  await run(['gateway', '--help'], {
    environment: {},
    stdout: { write: (part) => (help += part) },
    stderr: { write: () => {} },
    signal: AbortSignal.abort(),
  })
  const flags = (of: string): string[] => [...new Set(of.match(/--[a-z][a-z-]+/g))].sort()
  const rows = section('Running the gateway')
    .split('\n')
    .filter((line) => line.startsWith('| `--'))
  const documented = flags(rows.map((row) => row.split('|')[1]).join())
  expect(documented).toEqual(flags(help).filter((flag) => flag !== '--help'))
  for (const [, flag, value] of help.matchAll(/^ {2}(--[a-z-]+).*\((\d+)\)$/gm)) {
    expect(rows.find((row) => row.includes(`\`${flag} `))).toContain(`\`${value}\``)
  }
})

test('documents every command', () => {
  const rows = section('Supported commands')
    .split('\n')
    .filter((line) => line.startsWith('| `'))
  const cells = rows.map((row) => row.split('|')[1] ?? '').join()
  const named = new Set(Array.from(cells.matchAll(/`([A-Z.]+)/g), ([, name]) => name))
  expect([...named].sort()).toEqual(Object.keys(COMMANDS).sort())
})
