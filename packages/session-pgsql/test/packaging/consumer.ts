import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/**
 * Creates projects that use the package as npm installs it: packed, and unpacked into a node_modules folder with its
 * dependencies, outside of this repository.
 */

const packageFolder = fileURLToPath(new URL('../..', import.meta.url))
const require = createRequire(import.meta.url)

interface PackageJson {
  name: string
  bin: Record<'session-pgsql', string>
  exports: Record<string, unknown>
  dependencies?: Record<string, string>
  peerDependencies?: Record<string, string>
  devDependencies?: Record<string, string>
}

const description: PackageJson = JSON.parse(readFileSync(join(packageFolder, 'package.json'), 'utf8'))

/** The file of each command. */
export const { bin } = description

/** The entry points of the package: `session-pgsql`, `session-pgsql/express`, … */
export const entryPoints: readonly string[] = Object.keys(description.exports)
  .filter((path) => !path.endsWith('.json'))
  .map((path) => description.name + path.slice(1))

export interface Project {
  readonly folder: string
  write(name: string, text: string): Promise<string>
  /** Runs node in the project. @returns its output @throws Error with the output if it fails */
  node(args: string[], env?: Record<string, string>): Promise<string>
  remove(): Promise<void>
}

/** Packs the package as it is published. @returns the path of the tarball */
export async function pack(): Promise<{ tarball: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'session-pgsql-pack-'))
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  const args = ['pack', '--json', '--foreground-scripts=false', '--pack-destination', folder]
  const { stdout } = await promisify(execFile)(npm, args, { cwd: packageFolder })
  const [packed] = Object.values(JSON.parse(stdout) as Record<string, { filename: string }>)
  if (packed === undefined) throw new Error(`npm pack named no file: ${stdout}`)
  return {
    tarball: join(folder, packed.filename),
    remove: () => rm(folder, { recursive: true, force: true }),
  }
}

/**
 * Creates a project in a new folder, with the package and its dependencies installed.
 *
 * @param more other packages that it has
 */
export async function createProject(
  tarball: string,
  packageJson: object = {},
  more: readonly string[] = [],
): Promise<Project> {
  const folder = await mkdtemp(join(tmpdir(), 'session-pgsql-user-'))
  const installed = join(folder, 'node_modules', description.name)
  await mkdir(installed, { recursive: true })
  await promisify(execFile)('tar', ['-xzf', tarball, '-C', installed, '--strip-components=1'])
  const dependencies = { ...description.dependencies, ...description.peerDependencies }
  const types = Object.keys(description.devDependencies ?? {}).filter((name) => name.startsWith('@types/'))
  for (const name of new Set([...Object.keys(dependencies), ...types, '@types/node', ...more])) {
    const target = join(folder, 'node_modules', name)
    await mkdir(dirname(target), { recursive: true })
    await symlink(locate(name), target, 'junction')
  }
  const project: Project = {
    folder,
    async write(name, text) {
      await writeFile(join(folder, name), text)
      return join(folder, name)
    },
    async node(args, env = {}) {
      const options = { cwd: folder, env: { ...process.env, ...env }, timeout: 110_000 }
      try {
        const { stdout, stderr } = await promisify(execFile)(process.execPath, args, options)
        return stdout + stderr
      } catch (error) {
        const { stdout, stderr } = error as { stdout: string; stderr: string }
        throw new Error(`node ${args.join(' ')} failed:\n${stdout}\n${stderr}`)
      }
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  }
  await project.write('package.json', JSON.stringify({ name: 'user', private: true, ...packageJson }))
  return project
}

/** Compiles one file of a project in strict mode. @throws Error with the compiler's output */
export async function compileStrict(project: Project, file: string): Promise<void> {
  const compilerOptions = {
    module: 'nodenext',
    target: 'es2022',
    strict: true,
    noEmit: true,
    types: ['node'],
    skipLibCheck: true,
  }
  await project.write('tsconfig.json', JSON.stringify({ compilerOptions, files: [file] }))
  await project.node([join(locate('typescript'), 'bin/tsc'), '-p', '.'])
}

/** Returns the folder of an installed package, even if its `exports` do not include its package.json. */
export function locate(name: string): string {
  for (const folder of require.resolve.paths(name) ?? []) {
    if (existsSync(join(folder, name, 'package.json'))) return join(folder, name)
  }
  throw new Error(`${name} is not installed`)
}
