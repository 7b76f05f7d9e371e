import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import type { Failure } from './client.ts'
import { away, changes, now } from './state.ts'

export interface Loaded<Value> {
  /** The last that was got, also while newer is asked for, and when that fails. */
  readonly value: Value | undefined
  readonly failure: Failure | undefined
  readonly loading: boolean
}

/**
 * Asks for something when `key` changes, after every act, and again when who was away is back.
 *
 * @param key says what is asked for: of another thing the old value is not shown
 * @param every seconds; asks again after each, while the page is looked at
 */
export function useLoaded<Value>(key: string, load: () => Promise<Value>, every?: number): Loaded<Value> {
  const [state, setState] = useState<{ key: string; value?: Value; failure?: Failure; loading: boolean }>({
    key,
    loading: true,
  })
  const latest = useRef(load)
  latest.current = load
  const asked = useRef(0)

  const reload = useCallback(async () => {
    const number = ++asked.current
    setState((was) => ({ ...(was.key === key ? was : { key }), loading: true }))
    try {
      const value = await latest.current()
      // An answer that another question has overtaken is not for anybody.
      if (number !== asked.current) return
      now.value = Date.now()
      setState({ key, value, loading: false })
    } catch (error) {
      if (number !== asked.current) return
      setState((was) => ({ ...was, failure: error as Failure, loading: false }))
    }
  }, [key])

  const change = changes.value
  useEffect(() => {
    void reload()
  }, [reload, change])

  const present = away.value === 'nobody'
  const failed = state.failure !== undefined
  useEffect(() => {
    if (present && failed) void reload()
    // A failure that is not for want of an answer stays: asking again would get the same.
  }, [present])

  useEffect(() => {
    if (every === undefined) return
    const timer = setInterval(() => {
      if (!document.hidden) void reload()
    }, every * 1000)
    return () => clearInterval(timer)
  }, [reload, every])

  useEffect(() => () => void asked.current++, [])

  const mine = state.key === key
  return {
    value: mine ? state.value : undefined,
    failure: mine ? state.failure : undefined,
    loading: !mine || state.loading,
  }
}
