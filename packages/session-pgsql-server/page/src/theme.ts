import { computed, effect, signal } from '@preact/signals'

/** Light or dark: as the system says, or as chosen here, which this browser remembers. */
export type Theme = 'light' | 'dark'

const KEY = 'session-pgsql-console-theme'
const system = matchMedia('(prefers-color-scheme: dark)')
const systemDark = signal(system.matches)
const chosen = signal(remembered())

system.addEventListener('change', () => {
  systemDark.value = system.matches
})

export const theme = computed<Theme>(() => chosen.value ?? (systemDark.value ? 'dark' : 'light'))

export function choose(wanted: Theme): void {
  chosen.value = wanted
  try {
    localStorage.setItem(KEY, wanted)
  } catch {
    // A browser may keep nothing; then it holds until the page is left.
  }
}

effect(() => {
  document.documentElement.dataset.theme = theme.value
})

function remembered(): Theme | undefined {
  try {
    const value = localStorage.getItem(KEY)
    return value === 'light' || value === 'dark' ? value : undefined
  } catch {
    return undefined
  }
}
