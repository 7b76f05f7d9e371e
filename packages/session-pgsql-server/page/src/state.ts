import { signal } from '@preact/signals'
import type { Me } from '../../src/console/api.ts'

/** What several pages share. */

/** Who looks at the page; undefined until the console has said so. */
export const me = signal<Me | undefined>()

/** Who does not answer, if anybody. */
export const away = signal<'nobody' | 'console' | 'database'>('nobody')

/** What the last act has come to; read out, and shown for a while. */
export const outcome = signal<{ readonly text: string; readonly failed: boolean } | undefined>()

/** Counts up when something on the server was changed from here: who shows it asks again. */
export const changes = signal(0)

/** The time, for "5 minutes ago". */
export const now = signal(Date.now())

export const mayAct = (): boolean => me.value?.role === 'operator'

let hiding: ReturnType<typeof setTimeout> | undefined
const SHOWN = 10_000

export function tell(text: string, failed = false): void {
  clearTimeout(hiding)
  outcome.value = { text, failed }
  if (!failed) {
    hiding = setTimeout(() => {
      outcome.value = undefined
    }, SHOWN)
  }
}

const TICK = 5000

/** Moves the clock, but not while nobody looks. */
export function keepTime(): void {
  const tick = () => {
    if (!document.hidden) now.value = Date.now()
  }
  setInterval(tick, TICK)
  document.addEventListener('visibilitychange', tick)
}
