import type { Server } from '../../servers/server.ts'
import { cipherOf, type Encryption } from '../../session/cipher.ts'
import { countUnencrypted, encryptTable } from '../../table/encrypting.ts'
import { UsageError } from '../arguments.ts'
import type { Command, Context } from '../command.ts'
import { type Failure, failureOf } from '../failure.ts'
import { bar, number, plural } from '../output.ts'

export const encrypt: Command = {
  name: 'encrypt',
  usage: '[--dry-run]',
  summary: 'encrypt the stored sessions with the first key',
  details: `
Encrypts the data and error messages of every session that is stored in plain
text or with another key, with the first key of --encryption-keys or of
SESSION_PGSQL_ENCRYPTION_KEYS. It works in small batches, while the site runs:
sessions do not change, and no user is logged out.

To turn on encryption, or to replace a key:

  1. Every process must be able to read the new form. Set the keys with
     write: false and acceptPlain: true; or add the new key second.
  2. Let every process write it: remove write: false; or put the new key first.
  3. Run encrypt with the same keys.
  4. Remove acceptPlain; or remove the old key.

You can interrupt the command and run it again. The exit code is 1 if sessions
are left: none of the keys decrypts them, or a process still writes them in
plain text or with another key.

Examples:
  session-pgsql encrypt --encryption-keys /etc/sessions/keys --dry-run
  session-pgsql encrypt --encryption-keys /etc/sessions/keys

JSON output:
  { "dryRun", "key", "servers": [
    { "server", "encrypted", "unreadable", "left", "ended", "error" }] }

  encrypted   sessions encrypted; with --dry-run, 0
  unreadable  sessions that none of the keys decrypts; with --dry-run, null
  left        other sessions in plain text or with another key
  ended       "done", "interrupted", or null (dry run or error)
  error       { "code", "message" } or null`,
  options: {
    'dry-run': { type: 'boolean', description: 'count the sessions to encrypt, and change nothing' },
  },
  positionals: [0, 0],
  gracePeriod: 5000,

  async run(context) {
    const { arguments: args, output, servers, settings } = context
    const { encryption } = settings
    if (encryption === undefined) {
      throw new UsageError('encrypt requires --encryption-keys, or SESSION_PGSQL_ENCRYPTION_KEYS')
    }
    const dryRun = args.has('dry-run')
    const results: Result[] = []
    // One server at a time, because there is one progress line.
    for (const server of servers) {
      results.push(await (dryRun ? count : encryptServer)(server, encryption, context))
    }
    const key = keyIdOf(encryption)
    if (output.isJson) output.json({ dryRun, key, servers: results })
    else for (const result of results) report(result, key, dryRun, context)
    return results.some(({ error, unreadable, left, ended }) => {
      return error !== null || (!dryRun && (left > 0 || (unreadable ?? 0) > 0)) || ended === 'interrupted'
    })
      ? 1
      : 0
  },
}

interface Result {
  readonly server: string
  readonly encrypted: number
  readonly unreadable: number | null
  readonly left: number
  readonly ended: 'done' | 'interrupted' | null
  readonly error: Failure | null
}

const NOTHING = { encrypted: 0, unreadable: null, left: 0, ended: null, error: null }

function keyIdOf({ keys }: Encryption): string {
  return (keys[0] as Encryption['keys'][number]).id
}

async function count(server: Server, encryption: Encryption, context: Context): Promise<Result> {
  const result = { ...NOTHING, server: server.name }
  try {
    return { ...result, left: await countUnencrypted(server.table, keyIdOf(encryption), context.deadline()) }
  } catch (error) {
    return { ...result, error: failureOf(error) }
  }
}

async function encryptServer(server: Server, encryption: Encryption, context: Context): Promise<Result> {
  const { output, settings, signal } = context
  let encrypted = 0
  const keyId = keyIdOf(encryption)
  try {
    // Counting reads the whole table, so it is done for a progress bar only. If it fails, a plain number is shown.
    const total = output.showsProgress
      ? await countUnencrypted(server.table, keyId, context.deadline()).catch(() => undefined)
      : undefined
    const done = await encryptTable(server.table, {
      cipher: cipherOf({ ...encryption, write: true, acceptPlain: true }),
      keyId,
      operationTimeout: settings.operationTimeout,
      signal,
      onProgress(soFar) {
        encrypted = soFar
        output.progress(`${server.name}  ${total ? bar(soFar, total) : number(soFar)}`)
      },
    })
    return { server: server.name, ...done, error: null }
  } catch (error) {
    return { ...NOTHING, server: server.name, encrypted, error: failureOf(error) }
  } finally {
    output.progress('')
  }
}

function report(
  { server, encrypted, unreadable, left, ended, error }: Result,
  key: string,
  dryRun: boolean,
  { output }: Context,
): void {
  if (error !== null) {
    output.error(`${server}: ${error.message}`, error.code)
    return
  }
  if (dryRun) {
    output.line(`${server}: ${plural(left, 'session')} to be encrypted with the key ${key}.`)
    return
  }
  output.line(`${server}: ${plural(encrypted, 'session')} encrypted with the key ${key}.`)
  if (unreadable !== null && unreadable > 0) {
    output.error(`${server}: none of the keys decrypts ${plural(unreadable, 'session')}; left unchanged`)
  }
  if (left > 0) {
    output.error(
      `${server}: ${plural(left, 'session')} left: a process still writes them in plain text or with another key`,
    )
  }
  if (ended === 'interrupted') output.line('Interrupted. Run encrypt again to continue.')
}
