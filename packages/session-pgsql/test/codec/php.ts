/** Real PHP, for the tests that hold the codecs against it. */
import { execFileSync, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { bytesToText, textToBytes } from '../../src/codec/bytes.ts'
import { phpBinaryCodec, phpCodec, phpSerializeCodec } from '../../src/codec/php.ts'

export const codecs = [phpCodec, phpSerializeCodec, phpBinaryCodec] as const

const script = fileURLToPath(new URL('corpus.php', import.meta.url))
const limits = { maxBuffer: 1 << 30, timeout: 120_000 }

/** Why these tests cannot run here; undefined if they can. */
export function phpMissing(): string | undefined {
  const found = spawnSync('php', ['-r', 'echo PHP_VERSION_ID, extension_loaded("session") ? "" : " bare";'])
  if (found.error !== undefined) return 'no php on this machine: nothing was held against real PHP'
  const version = found.stdout.toString()
  if (!/^\d+$/.test(version) || Number(version) < 80100) return `php ${version}: 8.1 with sessions is needed`
  return undefined
}

/** Sessions that PHP made and encoded, from a seed. */
export function phpSessions(handler: string, seed: number, count: number): Buffer[] {
  const lines = execFileSync('php', [script, 'generate', handler, String(seed), String(count)], limits)
  return lines
    .toString('latin1')
    .trimEnd()
    .split('\n')
    .map((line) => Buffer.from(line, 'base64'))
}

export interface Seen {
  /** What PHP's session_encode() makes of it, as the column has it. */
  again: string
  /** What PHP's var_export() shows. */
  shown: string
}

/** What PHP's session_decode() makes of these texts; undefined where it fails. */
export function phpDecodes(handler: string, texts: string[]): (Seen | undefined)[] {
  const input = texts.map((text) => `${textToBytes(text).toString('base64')}\n`).join('')
  const lines = execFileSync('php', [script, 'decode', handler], { ...limits, input })
  const answers = lines.toString('latin1').trimEnd().split('\n')
  return answers.map((line) => {
    if (line === 'failed') return undefined
    const [again = '', shown = ''] = line.split(' ').map((part) => Buffer.from(part, 'base64'))
    return { again: bytesToText(again as Buffer), shown: shown.toString() }
  })
}
