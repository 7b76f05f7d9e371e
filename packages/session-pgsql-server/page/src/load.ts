import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import type { RequestError } from './client.ts'
import { changes, now, unreachable } from './state.ts'

export interface Loaded<Value> {
  /** The last loaded value. It stays while a newer one is loading, and after a failure. */
  readonly value: Value | undefined
  readonly failure: RequestError | undefined
  readonly loading: boolean
}

/**
 * Loads a value when `key` changes, after every change that the user makes, and when an outage ends.
 *
 * @param key identifies the value; the value of another key is not returned
 * @param every reloads after this many seconds while the page is visible
 */
export function useLoaded<Value>(key: string, load: () => Promise<Value>, every?: number): Loaded<Value> {
  const [state, setState] = useState<{
    key: string
    value?: Value
    failure?: RequestError
    loading: boolean
  }>({ key, loading: true })
  const latest = useRef(load)
  latest.current = load
  const requests = useRef(0)

  const reload = useCallback(async () => {
    const request = ++requests.current
    setState((previous) => ({ ...(previous.key === key ? previous : { key }), loading: true }))
    try {
      const value = await latest.current()
      // A later request has replaced this one.
      if (request !== requests.current) return
      now.value = Date.now()
      setState({ key, value, loading: false })
    } catch (error) {
      if (request !== requests.current) return
      setState((previous) => ({ ...previous, failure: error as RequestError, loading: false }))
    }
  }, [key])

  const change = changes.value
  useEffect(() => {
    void reload()
  }, [reload, change])

  const reachable = unreachable.value === 'none'
  const failed = state.failure !== undefined
  useEffect(() => {
    if (reachable && failed) void reload()
    // Not when only `failed` changes: a request that the console rejected would be rejected again.
  }, [reachable])

  useEffect(() => {
    if (every === undefined) return
    const timer = setInterval(() => {
      if (!document.hidden) void reload()
    }, every * 1000)
    return () => clearInterval(timer)
  }, [reload, every])

  useEffect(() => () => void requests.current++, [])

  const isCurrent = state.key === key
  return {
    value: isCurrent ? state.value : undefined,
    failure: isCurrent ? state.failure : undefined,
    loading: !isCurrent || state.loading,
  }
}
