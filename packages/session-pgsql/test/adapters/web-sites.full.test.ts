import { beforeAll, describe, test } from 'vitest'
import { installed, laterNode } from '../support/programs.ts'
import { describeGuarantees, WEB_SESSIONS } from './guarantees.ts'
import { runInExample, type SiteProgram, startSiteProcess } from './site-process.ts'

/** The frameworks and runtimes for which `session-pgsql/web` is enough: their sites pass the suite without an adapter. */
interface WebSite extends Omit<SiteProgram, 'command'> {
  /** undefined if the program is not installed. */
  readonly command: SiteProgram['command'] | undefined
  readonly needs: string
  /** The arguments of this Node.js that build the site. */
  readonly build?: readonly string[]
}

const node = laterNode()
const later = (...args: string[]): SiteProgram['command'] | undefined =>
  node === undefined ? undefined : [node, ...args]
const program = (name: string, ...args: string[]): SiteProgram['command'] | undefined =>
  installed(name) ? [name, ...args] : undefined

const VITE_BUILD = ['../../node_modules/vite/bin/vite.js', 'build']

const SITES: Record<string, WebSite> = {
  'Bun.serve': { name: 'web', command: program('bun', 'bun.js'), needs: 'bun' },
  'Deno.serve': { name: 'web', command: program('deno', 'run', '-A', 'deno.js'), needs: 'deno' },
  Elysia: { name: 'elysia', command: program('bun', 'main.js'), needs: 'bun' },
  SvelteKit: {
    name: 'sveltekit',
    command: later('main.js'),
    needs: 'node24',
    build: VITE_BUILD,
  },
  'TanStack Start': {
    name: 'tanstack-start',
    command: later('main.js'),
    needs: 'node24',
    build: VITE_BUILD,
  },
}

describe.each(Object.entries(SITES))('%s', (site, { name, command, needs, build }) => {
  if (command === undefined) {
    test.skip(`needs ${needs} in the PATH`)
    return
  }
  if (build !== undefined) beforeAll(() => runInExample(name, command[0], ...build))
  describeGuarantees({
    ...WEB_SESSIONS,
    name: `session-pgsql/web with ${site}`,
    inProcesses: true,
    start: (options, pause) => startSiteProcess({ name, command }, options, pause),
  })
})
