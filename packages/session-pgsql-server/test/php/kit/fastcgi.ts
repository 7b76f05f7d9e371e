import { connect } from 'node:net'

/**
 * Requests to PHP over FastCGI. Not over `php -S`: there, a busy worker may accept a connection before it can serve it, and
 * two requests that wait for each other never finish.
 */

const VERSION = 1
const BEGIN = 1
const END = 3
const PARAMETERS = 4
const INPUT = 5
const OUTPUT = 6
const ERRORS = 7
const RESPONDER = 1
/** Longest content of a record, whose length has 16 bits. A multiple of 8, so that no padding is needed. */
const LARGEST = 65_528

export interface FastCgiAnswer {
  readonly output: Buffer
  readonly errors: string
}

export function fastCgi(
  port: number,
  parameters: Readonly<Record<string, string>>,
  body: Buffer,
  timeoutMs: number,
): Promise<FastCgiAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error(`no answer from PHP within ${timeoutMs} ms`)))
    const output: Buffer[] = []
    let errors = ''
    let rest = Buffer.alloc(0)
    let isDone = false
    socket.on('data', (chunk) => {
      rest = Buffer.concat([rest, chunk])
      while (rest.length >= 8) {
        const length = rest.readUInt16BE(4)
        const size = 8 + length + rest.readUInt8(6)
        if (rest.length < size) return
        const content = rest.subarray(8, 8 + length)
        const type = rest.readUInt8(1)
        if (type === OUTPUT) output.push(Buffer.from(content))
        if (type === ERRORS) errors += content.toString()
        if (type === END) isDone = true
        rest = rest.subarray(size)
      }
      if (isDone) {
        socket.destroy()
        resolve({ output: Buffer.concat(output), errors })
      }
    })
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('PHP closed the connection before it answered')))
    socket.write(
      Buffer.concat([
        record(BEGIN, Buffer.from([0, RESPONDER, 0, 0, 0, 0, 0, 0])),
        ...stream(PARAMETERS, Buffer.concat(Object.entries(parameters).map(pair))),
        ...stream(INPUT, body),
      ]),
    )
  })
}

function stream(type: number, content: Buffer): Buffer[] {
  const records: Buffer[] = []
  for (let at = 0; at < content.length; at += LARGEST) {
    records.push(record(type, content.subarray(at, at + LARGEST)))
  }
  return [...records, record(type, Buffer.alloc(0))]
}

function record(type: number, content: Buffer): Buffer {
  const header = Buffer.from([VERSION, type, 0, 1, content.length >> 8, content.length & 255, 0, 0])
  return Buffer.concat([header, content])
}

function pair([name, value]: [string, string]): Buffer {
  const [key, content] = [Buffer.from(name), Buffer.from(value)]
  return Buffer.concat([sizeOf(key), sizeOf(content), key, content])
}

function sizeOf({ length }: Buffer): Buffer {
  if (length < 128) return Buffer.from([length])
  const size = Buffer.alloc(4)
  size.writeUInt32BE(length + 2 ** 31)
  return size
}
