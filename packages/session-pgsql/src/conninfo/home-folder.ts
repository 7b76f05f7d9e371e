import { homedir } from 'node:os'

/** Where a user's own files lie. Of a user who has no home, as a service's may have none: `/`, as in containers. */
export function homeFolder(): string {
  try {
    return homedir()
  } catch {
    return '/'
  }
}
