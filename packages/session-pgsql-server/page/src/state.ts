import { signal } from '@preact/signals'
import type { Me } from '../../src/console/api.ts'

/** State that several pages share. */

/** The user; undefined until the console has answered. */
export const me = signal<Me | undefined>()

/** What is not responding. */
export const unreachable = signal<'none' | 'console' | 'database'>('none')

/** The result of the last action. */
export const notification = signal<{ readonly text: string; readonly failed: boolean } | undefined>()

/** Increments after each request that changes something, so that the page reloads what it shows. */
export const changes = signal(0)

/** The current time, for texts such as "5 minutes ago". */
export const now = signal(Date.now())

export const isOperator = (): boolean => me.value?.role === 'operator'

let hideTimer: ReturnType<typeof setTimeout> | undefined
const HIDE_AFTER = 10_000

/** Shows a notification: a failure until the user closes it, a success for ten seconds. */
export function notify(text: string, failed = false): void {
  clearTimeout(hideTimer)
  notification.value = { text, failed }
  if (!failed) {
    hideTimer = setTimeout(() => {
      notification.value = undefined
    }, HIDE_AFTER)
  }
}

const TICK = 5000

/** Keeps `now` up to date while the page is visible. */
export function startClock(): void {
  const tick = () => {
    if (!document.hidden) now.value = Date.now()
  }
  setInterval(tick, TICK)
  document.addEventListener('visibilitychange', tick)
}
