import type { Subscriber, Subscription } from './database.ts'
import type { PoolClientLike, PoolLike } from './drivers.ts'
import { ExtendedQuery } from './extended-query.ts'
import { connectFault, statementFault, timeoutFault } from './faults.ts'

/**
 * Listens to a channel on a connection that serves nothing else, and does not keep the process alive.
 *
 * @param pool of one connection; ends with the subscription
 * @param channel a name that needs no quotes
 */
export async function listen(
  pool: PoolLike,
  channel: string,
  { onMessage, onEnd }: Subscriber,
  deadline: number,
): Promise<Subscription> {
  let client: PoolClientLike | undefined
  let isListening = false
  let isEnded = false
  const end = (): void => {
    if (isEnded) return
    isEnded = true
    client?.release(true)
    void pool.end()
    if (isListening) onEnd()
  }
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    const expire = (): void => reject(timeoutFault('waiting for a connection that listens', false))
    timer = setTimeout(expire, Math.max(1, deadline - performance.now()))
  })
  // An error that has no listener would end the process.
  pool.on('error', () => {})
  pool.on('connect', (connected) => {
    connected.on('error', end)
    connected.on('end', end)
    connected.on('notification', ({ payload = '' }) => onMessage(payload))
  })
  try {
    const connecting = pool.connect().then((connected) => {
      client = connected
      // The caller has given up.
      if (isEnded) connected.release(true)
      return connected
    })
    connecting.catch(() => {})
    const connected = await Promise.race([connecting, timeout]).catch((error) => {
      throw connectFault(error)
    })
    await Promise.race([send(connected, `LISTEN ${channel}`), timeout]).catch((error) => {
      throw statementFault(error, false)
    })
    if (isEnded) throw connectFault(new Error('the connection was closed'))
    connected.unref?.()
    isListening = true
    return { end }
  } catch (error) {
    end()
    throw error
  } finally {
    clearTimeout(timer)
  }
}

function send(client: PoolClientLike, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    client.query(new ExtendedQuery(text, undefined, []), (error) => (error ? reject(error) : resolve()))
  })
}
