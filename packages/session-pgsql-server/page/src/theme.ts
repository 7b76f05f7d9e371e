import { computed, effect, signal } from '@preact/signals'
import { remember, remembered } from './remembered.ts'

/** Light or dark: as the system says, or as chosen here, which this browser remembers. */
export type Theme = 'light' | 'dark'

const system = matchMedia('(prefers-color-scheme: dark)')
const systemDark = signal(system.matches)
const chosen = signal(remembered<Theme>('theme', ['light', 'dark']))

system.addEventListener('change', () => {
  systemDark.value = system.matches
})

export const theme = computed<Theme>(() => chosen.value ?? (systemDark.value ? 'dark' : 'light'))

export function choose(wanted: Theme): void {
  chosen.value = wanted
  remember('theme', wanted)
}

effect(() => {
  document.documentElement.dataset.theme = theme.value
})
