import { type Errors, type MetadataUpdate, registry } from './registry.ts'

/** What requests have to record about their sessions, on its way to the next save or touch. */

export function metadataOf(request: object): MetadataUpdate {
  let metadata = registry.metadata.get(request)
  if (metadata === undefined) {
    metadata = {}
    registry.metadata.set(request, metadata)
  }
  return metadata
}

export function addErrors(metadata: MetadataUpdate, added: Errors): void {
  const { errors = 0, warnings = 0, notices = 0, message } = metadata.errors ?? {}
  metadata.errors = {
    errors: errors + added.errors,
    warnings: warnings + added.warnings,
    notices: notices + added.notices,
    message: added.message ?? message,
  }
}

/** What is to be written now. Whoever takes it and fails gives it back. */
export function takeMetadata(request: object | undefined): MetadataUpdate | undefined {
  if (request === undefined) return undefined
  const metadata = registry.metadata.get(request)
  registry.metadata.delete(request)
  return metadata
}

export function giveBack(request: object | undefined, taken: MetadataUpdate | undefined): void {
  if (request === undefined || taken === undefined) return
  const newer = registry.metadata.get(request)
  if (newer?.errors !== undefined) addErrors(taken, newer.errors)
  if (newer?.custom !== undefined) taken.custom = newer.custom
  registry.metadata.set(request, taken)
}
