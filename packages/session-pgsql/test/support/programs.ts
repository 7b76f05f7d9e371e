import { spawnSync } from 'node:child_process'

/** The least version of Node.js that Astro and AdonisJS support. */
const LATER_NODE = 24

/**
 * Returns the command of a Node.js that is recent enough for every framework: this one, or `node24` in the PATH;
 * undefined if there is none.
 */
export function laterNode(): string | undefined {
  if (Number.parseInt(process.versions.node, 10) >= LATER_NODE) return process.execPath
  return installed('node24') ? 'node24' : undefined
}

/** Returns true if a program is in the PATH. */
export function installed(program: string): boolean {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0
}
