import { type Errors, type Marks, registry } from './registry.ts'

/** What requests have to record about their sessions, on its way to the next save or touch. */

export function marksOf(request: object): Marks {
  let marks = registry.marks.get(request)
  if (marks === undefined) {
    marks = {}
    registry.marks.set(request, marks)
  }
  return marks
}

export function addErrors(marks: Marks, added: Errors): void {
  const { errors = 0, warnings = 0, notices = 0, message } = marks.errors ?? {}
  marks.errors = {
    errors: errors + added.errors,
    warnings: warnings + added.warnings,
    notices: notices + added.notices,
    message: added.message ?? message,
  }
}

/** What is to be written now. Whoever takes it and fails gives it back. */
export function takeMarks(request: object | undefined): Marks | undefined {
  if (request === undefined) return undefined
  const marks = registry.marks.get(request)
  registry.marks.delete(request)
  return marks
}

export function giveBack(request: object | undefined, taken: Marks | undefined): void {
  if (request === undefined || taken === undefined) return
  const newer = registry.marks.get(request)
  if (newer?.errors !== undefined) addErrors(taken, newer.errors)
  if (newer?.custom !== undefined) taken.custom = newer.custom
  registry.marks.set(request, taken)
}
