/** The user's choices, kept in the browser's local storage if it is available. */

const PREFIX = 'session-pgsql-console-'

/** Returns the stored choice if it is one of `choices`. */
export function loadPreference<Choice extends string>(
  name: string,
  choices: readonly Choice[],
): Choice | undefined {
  try {
    const value = localStorage.getItem(PREFIX + name)
    return choices.find((choice) => choice === value)
  } catch {
    return undefined
  }
}

export function savePreference(name: string, choice: string): void {
  try {
    localStorage.setItem(PREFIX + name, choice)
  } catch {
    // Without local storage the choice lasts until the page is closed.
  }
}
