import { beforeAll, expect, test } from 'vitest'
import type { Php } from './kit/php.ts'
import { describeWithPhp } from './kit/place.ts'

/** The cases of site/functions.php with the number of their steps; a test holds this table against the script. */
const CASES: Record<string, number> = {
  start: 3,
  'start with options': 2,
  'an empty session': 3,
  'nothing is started': 1,
  regenerate: 3,
  'regenerate and delete': 3,
  'regenerate twice': 3,
  destroy: 3,
  'destroy and start again': 3,
  'destroy before anything is stored': 2,
  abort: 3,
  reset: 3,
  gc: 3,
  read_and_close: 3,
  'read_and_close, then to write': 3,
  'lazy_write on': 5,
  'lazy_write off': 3,
  'strict mode': 3,
  'an id that is chosen': 2,
  'an id with blanks': 1,
  'an id with a slash': 1,
  'encode and decode': 3,
  name: 2,
  unset: 3,
  'one key unset': 3,
  write_close: 2,
  'cookie params': 2,
  create_id: 2,
  'create_id in strict mode': 2,
  'cache limiter': 2,
  'objects, bytes and references': 3,
  'a key with a bar': 2,
  'a large session': 3,
  'an exception in the middle': 3,
  'exit in the middle': 3,
  'a script that handles its sessions itself': 3,
}

/** Lines of the answers that differ, and why; docs/php.md says it to users. */
const DIFFERENCES: Record<string, { files: string; gateway: string }> = {
  // phpredis leaves garbage collection to its server, and tells PHP nothing of it.
  gc: { files: 'session_gc = int(0)', gateway: 'session_gc = bool(false)' },
  // phpredis sends any id; the gateway refuses it. The warning that matters is the same: no session.
  'an id with a slash': {
    files:
      'Warning: session_start(): Session ID is too long or contains illegal characters. Only the A-Z, a-z, 0-9, "-", and "," characters are allowed',
    gateway: '',
  },
}

describeWithPhp("PHP's session functions, on files and on the gateway", (place) => {
  let files: Php
  let gateway: Php
  beforeAll(async () => {
    const { ini } = await place.gateway({ db: await place.database() })
    files = await place.php({ ini: { 'session.save_handler': 'files' }, workers: 1 })
    gateway = await place.php({ ini: ini(), workers: 1 })
  })

  test('the script has the cases that this test runs', async () => {
    expect(JSON.parse((await files.request('functions.php')).text)).toEqual(CASES)
  })

  test.each(Object.entries(CASES))('%s', async (name, steps) => {
    const seen = { files: await play(files, name, steps), gateway: await play(gateway, name, steps) }
    const difference = DIFFERENCES[name]
    const lines = seen.files.filter((line) => line !== difference?.files)
    expect(seen.gateway.filter((line) => line !== difference?.gateway)).toEqual(lines)
    if (difference !== undefined) {
      expect(seen.files).toContain(difference.files)
      if (difference.gateway !== '') expect(seen.gateway).toContain(difference.gateway)
    }
    // Both may be wrong in the same way.
    expect(seen.files.length).toBeGreaterThan(steps * 2)
    expect(seen.files.join('\n')).not.toContain('Undefined')
  })
})

/** What a visitor sees who goes through all steps of a case: headers and text, in lines; without what cannot be equal. */
async function play(php: Php, name: string, steps: number): Promise<string[]> {
  const visitor = php.visitor()
  let text = ''
  for (let step = 0; step < steps; step++) {
    const answer = await visitor.visit('functions.php', { query: { case: name, step } })
    const headers = answer.headers.map(([header, value]) => `${header}: ${value}\n`)
    text += `--- step ${step}\n${headers.join('')}${answer.text}`
  }
  const ids: string[] = []
  return text
    .replace(/[0-9a-f]{32}/g, (id) => {
      if (!ids.includes(id)) ids.push(id)
      return `<id ${ids.indexOf(id) + 1}>`
    })
    .replace(/\b(files|redis) \(path: [^)]*\)/g, '<handler>')
    .trimEnd()
    .split('\n')
}
