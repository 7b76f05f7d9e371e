import { computed, effect, signal } from '@preact/signals'
import { loadPreference, savePreference } from './preferences.ts'

/** The system's theme, unless the user has chosen the other one in this browser. */
export type Theme = 'light' | 'dark'

const system = matchMedia('(prefers-color-scheme: dark)')
const systemDark = signal(system.matches)
const chosen = signal(loadPreference<Theme>('theme', ['light', 'dark']))

system.addEventListener('change', () => {
  systemDark.value = system.matches
})

export const theme = computed<Theme>(() => chosen.value ?? (systemDark.value ? 'dark' : 'light'))

export function setTheme(wanted: Theme): void {
  chosen.value = wanted
  savePreference('theme', wanted)
}

effect(() => {
  document.documentElement.dataset.theme = theme.value
})
