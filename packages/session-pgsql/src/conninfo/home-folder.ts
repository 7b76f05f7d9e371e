import { homedir } from 'node:os'

/** Returns the user's home directory; `/` for a user without one, as services and containers may have. */
export function homeFolder(): string {
  try {
    return homedir()
  } catch {
    return '/'
  }
}
