/** Runs PHP, for the tests that compare the codecs with it. */
import { execFileSync, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { bytesToText, textToBytes } from '../../src/codec/bytes.ts'
import { phpBinaryCodec, phpCodec, phpSerializeCodec } from '../../src/codec/php.ts'

export const codecs = [phpCodec, phpSerializeCodec, phpBinaryCodec] as const

const script = fileURLToPath(new URL('corpus.php', import.meta.url))
const limits = { maxBuffer: 1 << 30, timeout: 120_000 }

/** Returns why the tests cannot run; undefined if they can. */
export function phpMissing(): string | undefined {
  const found = spawnSync('php', ['-r', 'echo PHP_VERSION_ID, extension_loaded("session") ? "" : " bare";'])
  if (found.error !== undefined) return 'php is not installed: the codecs were not compared with PHP'
  const version = found.stdout.toString()
  if (!/^\d+$/.test(version) || Number(version) < 80100)
    return `php ${version}: the tests need 8.1 or later with the extension session`
  return undefined
}

/** Returns sessions that PHP created from a seed and encoded. */
export function phpSessions(handler: string, seed: number, count: number): Buffer[] {
  const lines = execFileSync('php', [script, 'generate', handler, String(seed), String(count)], limits)
  return lines
    .toString('latin1')
    .trimEnd()
    .split('\n')
    .map((line) => Buffer.from(line, 'base64'))
}

export interface PhpDecoded {
  /** Output of PHP's session_encode(), as the table stores it. */
  again: string
  /** Output of PHP's var_export(). */
  exported: string
}

/** Decodes these texts with PHP's session_decode(). An entry is undefined if that fails. */
export function phpDecodes(handler: string, texts: string[]): (PhpDecoded | undefined)[] {
  const input = texts.map((text) => `${textToBytes(text).toString('base64')}\n`).join('')
  const lines = execFileSync('php', [script, 'decode', handler], { ...limits, input })
  const results = lines.toString('latin1').trimEnd().split('\n')
  return results.map((line) => {
    if (line === 'failed') return undefined
    const [again = '', exported = ''] = line.split(' ').map((part) => Buffer.from(part, 'base64'))
    return { again: bytesToText(again as Buffer), exported: exported.toString() }
  })
}
