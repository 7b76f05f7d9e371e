import { beforeAll, expect, test } from 'vitest'
import type { Php } from './kit/php.ts'
import { describeWithPhp } from './kit/place.ts'

/** The cases of site/functions.php with the number of their steps; a test compares this table with the script. */
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
  'module name': 2,
  'save path': 2,
  register_shutdown: 2,
  'names that are none': 1,
  'cookie params, the old way': 2,
  'cache limiters': 5,
  'SessionHandler that handles nothing': 2,
  'SessionHandler itself': 3,
  'a handler in a class of the site': 6,
  'a handler in a class of the site, with garbage collection': 2,
  'a handler in a class of the site, in strict mode': 4,
  'a handler around the built-in one': 3,
  'a handler of functions': 2,
  'a handler that encrypts': 2,
}

/** Lines that differ, and why; docs/php.md tells users. */
const DIFFERENCES: Record<string, { files: string[]; gateway: string[] }> = {
  // phpredis leaves garbage collection to its server, and returns no count to PHP.
  gc: { files: ['session_gc = int(0)'], gateway: ['session_gc = bool(false)'] },
  'a handler in a class of the site, with garbage collection': {
    files: ['  gc 1440 = int(0)', 'session_gc = int(0)'],
    gateway: ['  gc 1440 = int(-1)', 'session_gc = bool(false)'],
  },
  // The gateway reads what it stores, to merge it: it refuses data that is no session of PHP.
  'a handler that encrypts': {
    files: ['$_SESSION = array(2) {', '  ["user"]=>', '  string(3) "ada"', '  ["visits"]=>', '  int(1)'],
    gateway: [
      'Warning: session_write_close(): Failed to write session data using user defined save handler. (session.save_path: <path>, handler: Encrypting::write)',
      '$_SESSION = array(0) {',
    ],
  },
  // phpredis sends any id, and the gateway refuses it. The warning that there is no session is the same.
  'an id with a slash': {
    files: [
      'Warning: session_start(): Session ID is too long or contains illegal characters. Only the A-Z, a-z, 0-9, "-", and "," characters are allowed',
    ],
    gateway: [],
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

  test('have a case in this test for each in the script', async () => {
    expect(JSON.parse((await files.request('functions.php')).text)).toEqual(CASES)
  })

  test.each(Object.entries(CASES))('%s', async (name, steps) => {
    const seen = { files: await play(files, name, steps), gateway: await play(gateway, name, steps) }
    const differs = DIFFERENCES[name] ?? { files: [], gateway: [] }
    const alike = (where: 'files' | 'gateway') => seen[where].filter((line) => !differs[where].includes(line))
    expect(alike('gateway')).toEqual(alike('files'))
    expect(seen.files).toEqual(expect.arrayContaining(differs.files))
    expect(seen.gateway).toEqual(expect.arrayContaining(differs.gateway))
    // Both may fail in the same way.
    expect(seen.files.length).toBeGreaterThan(steps * 2)
    expect(seen.files.join('\n')).not.toContain('Undefined')
  })
})

/** Runs all steps of a case. @returns the lines of headers and text, with ids and dates replaced */
async function play(php: Php, name: string, steps: number): Promise<string[]> {
  const visitor = php.visitor()
  let text = ''
  for (let step = 0; step < steps; step++) {
    const answer = await visitor.visit('functions.php', { query: { case: name, step } })
    const headers = answer.headers.map(([header, value]) => `${header}: ${value}\n`)
    text += `--- step ${step}\n${headers.join('')}${answer.text}`
  }
  const ids: string[] = []
  return (
    text
      .replace(/[0-9a-f]{32}/g, (id) => {
        if (!ids.includes(id)) ids.push(id)
        return `<id ${ids.indexOf(id) + 1}>`
      })
      .replace(/\b(files|redis) \(path: [^)]*\)/g, '<handler>')
      .replace(/\(session\.save_path: [^,]*/g, '(session.save_path: <path>')
      .replace(/^Expires: .* 20\d\d .*$/gm, 'Expires: <soon>')
      .trimEnd()
      .split('\n')
      // phpredis 6 adds it to PHP's own warning.
      .filter((line) => !/^Warning: .*: Error communicating with Redis server/.test(line))
  )
}
