/** PHP's three ways to write a session (`session.serialize_handler`), for sessions shared with PHP. */
import { SessionPgsqlError } from '../errors.ts'
import { nameToBytes, textToBytes } from './bytes.ts'
import type { MergingCodec } from './codec.ts'
import { orderOf, rememberOrder } from './php-memory.ts'
import { mergeVariables } from './php-merge.ts'
import { integerKey } from './php-numbers.ts'
import { PhpReader } from './php-reader.ts'
import { setOwn } from './php-shapes.ts'
import { PhpWriter } from './php-writer.ts'

/** `$_SESSION`: the variables by their names. */
export type PhpSession = Record<string, unknown>

const BAR = 0x7c
const LONGEST_BINARY_NAME = 127

/** PHP's default: `name|value` after `name|value`. */
export const phpCodec: MergingCodec<PhpSession> = {
  name: 'php',
  encode: (data) =>
    encodeVariables(data, (writer, name) => {
      if (name.includes('|')) throw unfitName('holds a "|"')
      writer.name(name)
      writer.raw('|')
    }),
  decode: (text) =>
    decode(text, (reader) =>
      readVariables(reader, ({ input }) => {
        const end = input.indexOf(BAR)
        if (end < 0) input.fail('a name and "|"')
        const name = input.name(input.take(end - input.at, 'a name'))
        input.at++
        return { name, marked: name.startsWith('!') }
      }),
    ),
  merge: mergeVariables,
}

/** One serialized array: the only one of the three that takes every name. */
export const phpSerializeCodec: MergingCodec<PhpSession> = {
  name: 'php_serialize',
  encode: (data) => {
    const writer = new PhpWriter()
    writer.session(data, namesOf(data))
    return writer.text()
  },
  decode: (text) => decode(text, (reader) => reader.session()),
  merge: mergeVariables,
}

/** The length of the name in one byte, the name, the value. */
export const phpBinaryCodec: MergingCodec<PhpSession> = {
  name: 'php_binary',
  encode: (data) =>
    encodeVariables(data, (writer, name) => {
      const length = nameToBytes(name)?.length ?? 0
      if (length > LONGEST_BINARY_NAME) throw unfitName(`has more than ${LONGEST_BINARY_NAME} bytes`)
      writer.raw(String.fromCharCode(length))
      writer.name(name)
    }),
  decode: (text) =>
    decode(text, (reader) =>
      readVariables(reader, ({ input }) => {
        const byte = input.peek()
        input.at++
        return { name: input.name(input.take(byte & 0x7f, 'a shorter name')), marked: byte >= 0x80 }
      }),
    ),
  merge: mergeVariables,
}

function decode(text: string, read: (reader: PhpReader) => PhpSession): PhpSession {
  if (text === '') return {}
  const bytes = textToBytes(text)
  const attempt = (reader: PhpReader): PhpSession => {
    const data = read(reader)
    if (!reader.input.done) reader.input.fail('the end')
    reader.finish()
    return data
  }
  const reader = new PhpReader(bytes, true)
  try {
    return attempt(reader)
  } catch (error) {
    // A payload that only looked like values that PHP has counted throws all later numbers off.
    if (!reader.sawPayload) throw error
    return attempt(new PhpReader(bytes, false))
  }
}

/**
 * `marked`: old versions of PHP wrote variables that were registered but undefined, as a mark and no value;
 * newer ones take the mark as part of the name, and a value follows.
 */
function readVariables(
  reader: PhpReader,
  readName: (reader: PhpReader) => { name: string; marked: boolean },
): PhpSession {
  const data: PhpSession = {}
  const names: string[] = []
  while (!reader.input.done) {
    const { name, marked } = readName(reader)
    if (marked && !reader.atValue()) continue
    const value = reader.value({ holder: data }, name)
    names.push(name)
    setOwn(data, name, value)
  }
  rememberOrder(data, names)
  return data
}

function encodeVariables(data: PhpSession, writeName: (writer: PhpWriter, name: string) => void): string {
  const writer = new PhpWriter()
  for (const name of namesOf(data)) {
    const value = data[name]
    if (value === undefined) continue
    // PHP would leave it out, or never find it again.
    if (integerKey(name) !== undefined) throw unfitName('looks like an integer')
    writeName(writer, name)
    writer.value(value, data, name)
  }
  return writer.text()
}

function namesOf(data: PhpSession): string[] {
  if (typeof data !== 'object' || data === null || Array.isArray(data)) {
    throw new SessionPgsqlError('INVALID_DATA', 'The data of a session is an object')
  }
  return orderOf(data)
}

function unfitName(how: string): SessionPgsqlError {
  const message = `A variable's name ${how}, which PHP's format cannot carry; php_serialize could`
  return new SessionPgsqlError('INVALID_DATA', message)
}
