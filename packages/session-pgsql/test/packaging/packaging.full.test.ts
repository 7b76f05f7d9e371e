import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { describeOnEveryKind } from '../support/servers.ts'
import { bin, createProject, entryPoints, locate, type Project, pack } from './consumer.ts'

let packed: Awaited<ReturnType<typeof pack>>
const projects: Project[] = []

async function project(packageJson?: object): Promise<Project> {
  const created = await createProject(packed.tarball, packageJson)
  projects.push(created)
  return created
}

beforeAll(async () => {
  packed = await pack()
})

afterAll(async () => {
  await packed?.remove()
  for (const one of projects) await one.remove()
})

const imports = entryPoints.map((name, i) => `import * as m${i} from '${name}'\n`).join('')
const requires = entryPoints.map((name, i) => `const m${i} = require('${name}')\n`).join('')
const all = `[${entryPoints.map((_, i) => `m${i}`).join(', ')}]`

/** Fails unless every entry point exports something, and the first one exports SaveHandler. */
const haveNames = `
for (const [i, module] of ${all}.entries()) {
  if (Object.keys(module).length === 0) throw new Error('entry point ' + i + ' exports nothing')
}
if (typeof m0.SaveHandler !== 'function') throw new Error('no SaveHandler')
`

/** Writes a session to a database and reads it, which also loads the modules that are imported lazily. */
const roundTrip = `
async function roundTrip() {
  const sessions = new m0.SaveHandler({ db: process.env.TEST_DB, operationTimeout: 60 })
  await sessions.write('an-id', { visits: 3 })
  const session = await sessions.read('an-id')
  await sessions.close()
  if (session.data.visits !== 3) throw new Error('the session read differs from the session written')
}
`

describe('Node', () => {
  test('imports every entry point', async () => {
    const user = await project({ type: 'module' })
    await user.write('main.js', `${imports}${haveNames}`)
    await user.node(['main.js'])
  })

  test('requires every entry point', async () => {
    const user = await project()
    // Node can also require the ES module. The option makes sure that it gets the CommonJS module.
    await user.write('main.js', `${requires}${haveNames}`)
    await user.node(['--no-experimental-require-module', 'main.js'])
  })

  test('recognises an error of the other copy if a process imports and requires the package', async () => {
    const user = await project({ type: 'module' })
    await user.write(
      'main.js',
      `import { createRequire } from 'node:module'
       import * as esm from 'session-pgsql'
       const cjs = createRequire(import.meta.url)('session-pgsql')
       if (esm.SaveHandler === cjs.SaveHandler) throw new Error('expected two copies')
       const error = new cjs.SessionPgsqlError('TIMEOUT', 'late')
       if (!(error instanceof esm.SessionPgsqlError)) throw new Error('not recognised')`,
    )
    await user.node(['main.js'])
  })
})

test('the command runs, and says what to do while nothing is built', async () => {
  const user = await project()
  const command = join('node_modules/session-pgsql', bin['session-pgsql'])
  expect(await user.node([command, '--help'])).toContain('session-pgsql')
  await rm(join(user.folder, 'node_modules/session-pgsql/dist'), { recursive: true })
  await expect(user.node([command, '--help'])).rejects.toThrow('Run "npm run build" first')
})

describe('The packed package', () => {
  test('has a README whose links lead to the repository', async () => {
    const user = await project()
    const readme = await readFile(join(user.folder, 'node_modules/session-pgsql/README.md'), 'utf8')
    const links = [...readme.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link)
    expect(links.filter((link) => !/^(https?:|#)/.test(link))).toEqual([])
    expect(links).toContainEqual(expect.stringMatching(/\/blob\/v\d+\.\d+\.\d+\/docs\/table\.md#privileges$/))
  })

  test.each(['esm', 'cjs'])('has source maps from dist/%s to the sources that it contains', async (kind) => {
    const user = await project()
    const dist = join(user.folder, 'node_modules/session-pgsql/dist', kind)
    const map = JSON.parse(await readFile(join(dist, 'save-handler.js.map'), 'utf8'))
    const sources = map.sources.map((source: string) => join(dist, source))
    expect(sources).toEqual([join(user.folder, 'node_modules/session-pgsql/src/save-handler.ts')])
    expect(existsSync(sources[0])).toBe(true)
  })

  test('is not packed while something is not built', async () => {
    const user = await project()
    const folder = join(user.folder, 'node_modules/session-pgsql')
    const check = fileURLToPath(new URL('../../../../scripts/check-built.mjs', import.meta.url))
    const run = () => promisify(execFile)(process.execPath, [check, 'dist/esm/cli/main.js'], { cwd: folder })
    await run()
    for (const file of ['dist/esm/cli/main.js', 'dist/cjs/adapters/koa.d.ts', 'dist']) {
      await rm(join(folder, file), { recursive: true })
      await expect(run()).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('npm run build') })
    }
  })
})

describe('TypeScript', () => {
  const newestTypescript = join(locate('typescript'), 'bin/tsc')
  const tools = fileURLToPath(new URL('../../../../tools', import.meta.url))
  const oldestTypescript = join(tools, 'typescript-5/node_modules/typescript/bin/tsc')

  /** Checks that the types are not `any`, which a module without types has and which accepts everything. */
  const source = `${imports}
type IsAny<T> = 0 extends 1 & T ? true : false
${entryPoints.map((_, i) => `export const typed${i}: IsAny<typeof m${i}> = false`).join('\n')}
export const typed: IsAny<m0.SaveHandler> = false
export async function read(): Promise<Date | null | undefined> {
  const sessions = new m0.SaveHandler({ db: 'host=db1 dbname=php_session' })
  const session = await sessions.read('an-id')
  return session?.expires
}
// @ts-expect-error There is no such option.
export const wrong = new m0.SaveHandler({ nosuchoption: 1 })
`
  /** Returns the compiler's errors in the project and in the package's declarations, but not in those of others. */
  async function errorsOf(user: Project, tsc: string): Promise<string[]> {
    try {
      await user.node([tsc, '-p', '.', '--pretty', 'false'])
      return []
    } catch (error) {
      const found = (error as Error).message.split('\n').filter((line) => line.includes('error TS'))
      if (found.length === 0) throw error
      return found.filter((line) => !/^(\.\.\/|node_modules\/(?!session-pgsql\/))/.test(line))
    }
  }

  async function writeSource(user: Project, settings: object, files: readonly string[]): Promise<void> {
    const compilerOptions = {
      ...settings,
      target: 'es2022',
      strict: true,
      noEmit: true,
      types: ['node'],
      esModuleInterop: true,
    }
    await user.write('tsconfig.json', JSON.stringify({ compilerOptions, files }))
    for (const file of files) await user.write(file, source)
  }

  const both = ['main.mts', 'main.cts']
  const nodenext = { module: 'nodenext', moduleResolution: 'nodenext' }
  const node16 = { module: 'node16', moduleResolution: 'node16', skipLibCheck: true }
  const bundler = { module: 'esnext', moduleResolution: 'bundler', skipLibCheck: true }
  const commonjs = { module: 'commonjs' }

  // The declarations are checked without skipLibCheck, which takes a few seconds.
  test.each([
    ['7: nodenext', newestTypescript, nodenext, both],
    ['7: node16', newestTypescript, node16, both],
    ['7: bundler', newestTypescript, bundler, ['main.ts']],
    ['7: commonjs', newestTypescript, commonjs, ['main.ts']],
    ['5.0: nodenext', oldestTypescript, nodenext, both],
    ['5.0: node16', oldestTypescript, node16, both],
    ['5.0: bundler', oldestTypescript, bundler, ['main.ts']],
    ['5.0: commonjs, which resolves as Node 10 did', oldestTypescript, commonjs, ['main.ts']],
  ])('compiles with TypeScript %s', async (_name, tsc, settings, files) => {
    const user = await project()
    await writeSource(user, settings, files)
    expect(await errorsOf(user, tsc)).toEqual([])
  })

  test.each([
    ['7', newestTypescript],
    ['5.0', oldestTypescript],
  ])('compiles with TypeScript %s and the newest @types/node', async (_name, tsc) => {
    const user = await project()
    const types = join(user.folder, 'node_modules/@types/node')
    await rm(types)
    await symlink(locate('types-node-26'), types, 'junction')
    // Otherwise other packages add the @types/node of this repository.
    await writeSource(user, { ...nodenext, preserveSymlinks: true }, both)
    expect(await errorsOf(user, tsc)).toEqual([])
  })
})

describeOnEveryKind('the package writes and reads a session', (server) => {
  let TEST_DB: string
  beforeAll(async () => {
    const { db } = await server.freshDatabase()
    // A PGlite instance belongs to this process. The other process opens its own.
    TEST_DB = typeof db === 'string' ? db : 'pglite:'
  })

  test('if Node imports it', async () => {
    const user = await project({ type: 'module' })
    await user.write('main.js', `${imports}${roundTrip}await roundTrip()`)
    await user.node(['main.js'], { TEST_DB })
  })

  test('if Node requires it', async () => {
    const user = await project()
    await user.write('main.js', `${requires}${roundTrip}roundTrip()`)
    await user.node(['main.js'], { TEST_DB })
  })

  if (server.kind === 'pglite') return

  test('if Jest requires it', async () => {
    const user = await project({ jest: { testEnvironment: 'node' } })
    await user.write(
      'user.test.js',
      `${requires}${roundTrip}
       test('every entry point has names', () => {${haveNames}})
       test('round trip', roundTrip)`,
    )
    const jest = join(locate('jest'), 'bin/jest.js')
    const output = await user.node([jest, '--no-cache', '--watchman=false', '--ci'], { TEST_DB })
    expect(output).toContain('2 passed')
  })

  test('if esbuild bundles it into one file', async () => {
    const user = await project()
    const entry = await user.write('main.ts', `${imports}${haveNames}${roundTrip}roundTrip()`)
    const bare = await project()
    await build({
      entryPoints: [entry],
      outfile: join(bare.folder, 'bundle.js'),
      bundle: true,
      platform: 'node',
      target: 'node20',
      logLevel: 'silent',
      // Optional dependencies, which are not installed here.
      external: ['@electric-sql/pglite', 'pg-native'],
    })
    await rm(join(bare.folder, 'node_modules'), { recursive: true })
    await bare.node(['bundle.js'], { TEST_DB })
  })
})
