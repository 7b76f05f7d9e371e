import { type ChildProcess, spawn } from 'node:child_process'
import { expect } from 'vitest'
import type { Project } from '../packaging/consumer.ts'
import { freePort } from '../support/connect.ts'
import { until } from '../support/wait.ts'

/**
 * Writes a page's code to app.mjs of a project as pasted, but for the port, starts it, and returns when it serves
 * requests: it must print its address and nothing else.
 *
 * @param code listens on port 3000
 */
export async function startPasted(
  project: Project,
  code: string,
  environment: Record<string, string>,
): Promise<{ site: ChildProcess; port: number }> {
  const port = await freePort()
  await project.write('app.mjs', code.replaceAll('3000', String(port)))
  const options = { cwd: project.folder, env: { ...process.env, ...environment } }
  const site = spawn(process.execPath, ['app.mjs'], options)
  let output = ''
  for (const stream of [site.stdout, site.stderr]) stream.on('data', (chunk) => (output += chunk))
  await until(() => output !== '' || site.exitCode !== null, 'the site', 60_000)
  expect(output).toBe(`http://localhost:${port}\n`)
  return { site, port }
}
