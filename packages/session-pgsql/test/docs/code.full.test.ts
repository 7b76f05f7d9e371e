import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { locate } from '../packaging/consumer.ts'
import { type Block, blocksOf } from './blocks.ts'

/**
 * Checks the types of all code in the documentation against the sources: names, options, methods, arguments. A block may
 * use names that it does not declare, such as `app`; these have the type any.
 */

const root = join(import.meta.dirname, '../../../..')

/** What a block may lack, because a reader has it: names, and packages. */
const ALLOWED = [
  'TS2304', // Cannot find name
  'TS2552', // Cannot find name. Did you mean …?
  'TS2307', // Cannot find module
  'TS2580', // Cannot find name of Node
  'TS2868', // Cannot find name of Bun
  'TS2834', // A relative import without an extension, which bundlers resolve
  'TS18004', // No value exists in scope for the shorthand property
  'TS2365', // Operator cannot be applied to unknown: JavaScript has no types for a session's data
]

const pages = [
  ...['README.md', 'CONTRIBUTING.md'].map((page) => join(root, page)),
  ...(await readdir(join(root, 'docs')))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(root, 'docs', name)),
]

interface Snippet {
  /** The page and the line, as `docs/web.md:6`. */
  readonly place: string
  readonly code: string
}

/** A block that compares two programs has both: "// before", "// after". */
function snippetsOf(page: string): Snippet[] {
  return blocksOf(page)
    .filter(({ language }) => ['js', 'ts', 'mjs'].includes(language))
    .flatMap(({ code, line }: Block) =>
      code
        .split(/^(?=\/\/ after$)/m)
        .map((part) => ({ place: `${relative(root, page)}:${line}`, code: part })),
    )
}

const snippets = pages.flatMap(snippetsOf)
let folder: string
let errors: string[]

beforeAll(async () => {
  // Below the repository, where imports find the installed packages.
  const parent = join(root, 'node_modules/.cache')
  await mkdir(parent, { recursive: true })
  folder = await mkdtemp(join(parent, 'docs-code-'))
  for (const [index, { code }] of snippets.entries()) {
    // A module, in which await is allowed; an export keeps an unused import from mattering.
    await writeFile(join(folder, `snippet-${index}.mts`), `${code}\nexport {}\n`)
  }
  await writeFile(
    join(folder, 'probe.mts'),
    `import { SaveHandler } from 'session-pgsql'
     new SaveHandler({ noSuchOption: 1 })
     new SaveHandler().noSuchMethod()`,
  )
  await writeFile(
    join(folder, 'express-data.d.ts'),
    `import 'express-session'
     declare module 'express-session' { interface SessionData { [key: string]: any } }
     declare global { namespace Express { interface User { [key: string]: any } } }`,
  )
  const source = (name: string) => [join(root, `packages/session-pgsql/src/${name}.ts`)]
  const server = (name: string) => [join(root, `packages/session-pgsql-server/src/${name}/start.ts`)]
  await writeFile(
    join(folder, 'tsconfig.json'),
    JSON.stringify({
      extends: join(root, 'tsconfig.base.json'),
      compilerOptions: {
        noEmit: true,
        lib: ['es2023', 'es2024.string', 'dom'],
        strict: false,
        strictNullChecks: false,
        exactOptionalPropertyTypes: false,
        // The decorators of NestJS.
        experimentalDecorators: true,
        erasableSyntaxOnly: false,
        noUnusedLocals: false,
        noUnusedParameters: false,
        paths: {
          'session-pgsql': source('index'),
          'session-pgsql/testing': source('testing'),
          'session-pgsql/*': source('adapters/*'),
          // Two versions are installed; the code is for the newer one.
          h3: [join(root, 'packages/session-pgsql/node_modules/h3/dist/_entries/node.d.mts')],
          'session-pgsql-server/console': server('console'),
          'session-pgsql-server/gateway': server('gateway'),
        },
      },
      include: ['*.mts', '*.d.ts'],
    }),
  )
  const args = [join(locate('typescript'), 'bin/tsc'), '-p', folder, '--pretty', 'false']
  const output = await promisify(execFile)(process.execPath, args, { cwd: folder }).then(
    () => '',
    (error: { stdout: string }) => error.stdout,
  )
  errors = output
    .split('\n')
    .filter((line) => line.includes('error TS') && !ALLOWED.some((code) => line.includes(`${code}:`)))
})

afterAll(() => rm(folder, { recursive: true, force: true }))

test.each(snippets.map(({ place }, index) => [place, index] as const))(
  'the code at %s compiles',
  (_, index) => {
    expect(errors.filter((line) => line.startsWith(`snippet-${index}.mts`))).toEqual([])
  },
)

test('the check finds an option and a method that do not exist', () => {
  expect(errors.filter((line) => line.startsWith('probe.mts'))).toEqual([
    expect.stringContaining("'noSuchOption'"),
    expect.stringContaining("'noSuchMethod'"),
  ])
})
