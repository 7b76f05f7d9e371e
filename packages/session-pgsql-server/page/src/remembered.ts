/** Choices of a few that this browser remembers, if it remembers anything at all. */

const PREFIX = 'session-pgsql-console-'

export function remembered<Choice extends string>(
  what: string,
  choices: readonly Choice[],
): Choice | undefined {
  try {
    const value = localStorage.getItem(PREFIX + what)
    return choices.find((choice) => choice === value)
  } catch {
    return undefined
  }
}

export function remember(what: string, choice: string): void {
  try {
    localStorage.setItem(PREFIX + what, choice)
  } catch {
    // A browser may keep nothing; then it holds until the page is left.
  }
}
