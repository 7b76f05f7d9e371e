import { createServer } from 'node:net'
import {
  bulk,
  integer,
  NIL,
  OK,
  type Reply,
} from '../../packages/session-pgsql-server/src/gateway/replies.ts'
import {
  type Command,
  type ParserLimits,
  RequestParser,
} from '../../packages/session-pgsql-server/src/gateway/request-parser.ts'

/**
 * The ceiling for any gateway in Node.js: answers the commands of phpredis from memory, with the parser of the gateway.
 * Started as `memory-server.ts PORT`.
 */

const LIMITS: ParserLimits = { argument: 1e6, arguments: 16, command: 1e6 }

const sessions = new Map<string, Buffer>()

function answer([name, key, , data]: Command): Reply {
  const id = String(key)
  switch (String(name).toUpperCase()) {
    case 'GET': {
      const stored = sessions.get(id)
      return stored === undefined ? NIL : bulk(stored)
    }
    case 'SETEX':
      sessions.set(id, Buffer.from(data as Buffer))
      return OK
    case 'EXPIRE':
      return integer(sessions.has(id) ? 1 : 0)
    default:
      return '-ERR unknown command\r\n'
  }
}

const server = createServer({ noDelay: true }, (socket) => {
  const parser = new RequestParser(LIMITS)
  socket.on('data', (chunk) => {
    parser.add(chunk)
    for (let command = parser.next(); command !== undefined; command = parser.next())
      socket.write(answer(command))
  })
  // A client that has gone away.
  socket.on('error', () => {})
})
server.listen(Number(process.argv[2]), '127.0.0.1')
