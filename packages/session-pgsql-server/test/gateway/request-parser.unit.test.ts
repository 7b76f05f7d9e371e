import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Command, ProtocolError, RequestParser } from '../../src/gateway/request-parser.ts'
import { command } from './talk.ts'

const LIMITS = { argument: 100_000, arguments: 64, command: 200_000 }
const KIB = 1024
const MIB = 1024 * KIB

/** Adds a chunk, and yields the commands that it completes. */
function* fed(parser: RequestParser, chunk: Buffer): Generator<Command> {
  parser.add(chunk)
  for (let command = parser.next(); command !== undefined; command = parser.next()) yield command
}

/** Feeds bytes in pieces that end at these positions. */
function feed(parser: RequestParser, bytes: Buffer, ends: readonly number[]): Buffer[][] {
  const commands: Buffer[][] = []
  let from = 0
  for (const end of [...ends, bytes.length]) {
    if (end <= from) continue
    // A copy of each piece, as a socket would pass it: returned commands must not change with later pieces.
    for (const one of fed(parser, Buffer.from(bytes.subarray(from, end)))) commands.push([...one])
    from = end
  }
  return commands
}

const anyCommands = fc.array(
  fc.array(
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    { minLength: 1, maxLength: 6 },
  ),
  { minLength: 1, maxLength: 8 },
)

describe('RequestParser', () => {
  test('returns the commands that were sent, whatever they contain and wherever they are split', () => {
    fc.assert(
      fc.property(anyCommands, fc.array(fc.nat(3000), { maxLength: 40 }), (commands, places) => {
        const bytes = Buffer.concat(commands.map((words) => command(...words)))
        const ends = places.map((place) => place % bytes.length).sort((one, other) => one - other)
        expect(feed(new RequestParser(LIMITS), bytes, ends)).toEqual(commands)
      }),
    )
  })

  test('returns the commands that were sent when they arrive byte by byte', () => {
    fc.assert(
      fc.property(anyCommands, (commands) => {
        const bytes = Buffer.concat(commands.map((words) => command(...words)))
        const parser = new RequestParser(LIMITS)
        expect(
          feed(
            parser,
            bytes,
            Array.from(bytes, (_, index) => index),
          ),
        ).toEqual(commands)
        expect(parser.midway).toBe(false)
        expect(parser.held).toBe(0)
      }),
      { numRuns: 30 },
    )
  })

  test('returns commands or throws a ProtocolError for any bytes, and holds no more than it received', () => {
    const pieces = fc.oneof(
      fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
      fc
        .constantFrom(
          '*',
          '$',
          '\r',
          '\n',
          '\r\n',
          '*3\r\n',
          '*0\r\n',
          '$5\r\n',
          '$0\r\n\r\n',
          '-',
          '9'.repeat(30),
        )
        .map((text) => Buffer.from(text)),
      fc.nat().map((size) => Buffer.from(`*${size}\r\n$${size}\r\n`)),
    )
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 40 }), (all) => {
        const parser = new RequestParser(LIMITS)
        let received = 0
        try {
          for (const piece of all) {
            received += piece.length
            for (const words of fed(parser, piece)) expect(words.length).toBeGreaterThan(0)
            expect(parser.held).toBeLessThanOrEqual(received)
          }
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError)
        }
      }),
      { numRuns: 2000 },
    )
  })

  test.each([
    ['an argument that is announced too large', '*2\r\n$100001\r\n', /bulk length is more than 100000/],
    ['too many arguments', '*65\r\n', /multibulk length is more than 64/],
    [
      'arguments that are too large together',
      `*3\r\n$100000\r\n${'x'.repeat(100_000)}\r\n$100000\r\n${'x'.repeat(100_000)}\r\n$1\r\n`,
      /the command is longer than 200000 bytes/,
    ],
    ['a length that is no number', '*1\r\n$0x10\r\n', /invalid bulk length/],
    ['a length of many digits', `*${'0'.repeat(400)}1\r\n`, /invalid multibulk/],
    ['a negative length', '*1\r\n$-1\r\n', /invalid bulk length/],
    ['a line without end', 'x'.repeat(1024), /the line is too long/],
    ['no CRLF after an argument', '*1\r\n$4\r\nPINGPING', /expected CRLF/],
    ['a request over HTTP', 'POST / HTTP/1.1\r\n', /expected '\*', got 'P'/],
    ['an inline command other than PING', 'GET PHPSESSID:x\r\n', /expected '\*', got 'G'/],
    ['an inline PING with words after it', 'PING / HTTP/1.1\r\n', /expected '\*'/],
  ])('refuses %s', (_name, text, error) => {
    expect(() => [...fed(new RequestParser(LIMITS), Buffer.from(text))]).toThrow(error)
  })

  test('returns the commands before a protocol error', () => {
    const parser = new RequestParser(LIMITS)
    const commands: Command[] = []
    expect(() => {
      for (const one of fed(parser, Buffer.from('PING\r\n*1\r\n$4\r\nECHO\r\n*x\r\n'))) commands.push(one)
    }).toThrow(ProtocolError)
    expect(commands.map(([name]) => String(name))).toEqual(['PING', 'ECHO'])
  })

  test('uses little more memory than it received, if megabytes arrive in single bytes', () => {
    const size = 2 * MIB
    const parser = new RequestParser({ argument: size, arguments: 4, command: size + KIB })
    const memory = (): number => {
      const { heapUsed, arrayBuffers } = process.memoryUsage()
      return heapUsed + arrayBuffers
    }
    const before = memory()
    const parts: Command[] = [...fed(parser, Buffer.from(`*2\r\n$3\r\nSET\r\n$${size}\r\n`))]
    // One buffer for each byte, as a socket would pass them.
    for (let n = 0; n < size; n++) parts.push(...fed(parser, Buffer.allocUnsafeSlow(1)))
    expect(parser.held).toBeGreaterThanOrEqual(size)
    expect(memory() - before).toBeLessThan(64 * MIB)
    parts.push(...fed(parser, Buffer.from('\r\n')))
    expect(parts.map((words) => words.map(({ length }) => length))).toEqual([[3, size]])
  })
})
