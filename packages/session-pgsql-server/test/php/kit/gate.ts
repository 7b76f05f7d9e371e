import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { until } from '../../../../session-pgsql/test/support/wait.ts'
import type { Php, PhpAnswer, Visitor } from './php.ts'

/** Returns a visitor whose session has a user. */
export async function signedIn(php: Php): Promise<Visitor> {
  const visitor = php.visitor()
  await visitor.visit('overlap.php', { query: { do: 'set', key: 'user', value: 'ada' } })
  return visitor
}

/** Returns the variables of the visitor's session. Throws PHP's output if it is a warning instead. */
export async function shown(visitor: Visitor): Promise<Record<string, unknown>> {
  return variablesOf(await visitor.visit('overlap.php', { query: { do: 'show' } }))
}

/** Returns the variables that a script of test/php/site has printed. Throws PHP's output if it is a warning instead. */
export function variablesOf({ text }: PhpAnswer): Record<string, unknown> {
  if (!text.startsWith('{')) throw new Error(text)
  return JSON.parse(text)
}

let gates = 0

/** Makes requests to scripts with site/gate.php wait for each other after they have read their session. */
export class Gate {
  /** What scripts of test/php/site take as `gate` in the query string. */
  readonly folder: string

  private constructor(folder: string) {
    this.folder = folder
  }

  static async make(php: Php): Promise<Gate> {
    const folder = join(php.folder, `gate${gates++}`)
    await mkdir(folder)
    return new Gate(folder)
  }

  visit(visitor: Visitor, query: Readonly<Record<string, string | number>>): Promise<PhpAnswer> {
    return visitor.visit('overlap.php', { query: { ...query, gate: this.folder } })
  }

  /** Resolves when `count` requests are waiting. @returns the ids of their processes */
  async arrived(count: number): Promise<number[]> {
    return until(async () => {
      const names = await readdir(this.folder)
      return names.length === count ? names.map((name) => Number(name.split('-')[1])) : undefined
    }, `${count} requests to arrive`)
  }

  /** Waits for `count` requests and lets them continue. */
  async open(count: number): Promise<void> {
    await this.arrived(count)
    await writeFile(join(this.folder, 'go'), '')
  }
}
