import { Server } from 'socket.io'

/**
 * Sockets that belong to sessions: a socket closes when its session ends, in whichever process the user logs out.
 *
 * @param server the HTTP server
 * @param session the middleware of express-session
 * @param sessions the save handler, with the option `announce`
 */
export function createSockets(server, session, sessions) {
  const io = new Server(server)
  io.engine.use(session)
  const roomOf = (storedId) => `session ${storedId}`

  io.on('connection', async (socket) => {
    const id = socket.request.sessionID
    socket.data.sessionID = id
    // First the room, then the check: so no logout falls between the two.
    socket.join(roomOf(sessions.storedId(id)))
    if (!(await isLoggedIn(id))) return socket.disconnect(true)
    socket.emit('welcome', socket.request.session.user)
  })

  sessions.on('ended', ({ id }) => {
    io.local.in(roomOf(id)).disconnectSockets(true)
  })
  // This process may not have learned of some sessions: check those whose sockets are here.
  sessions.on('missed', async () => {
    for (const socket of io.sockets.sockets.values()) {
      if (!(await isLoggedIn(socket.data.sessionID))) socket.disconnect(true)
    }
  })

  async function isLoggedIn(id) {
    try {
      return (await sessions.read(id))?.data.user !== undefined
    } catch {
      return false
    }
  }
  return io
}
