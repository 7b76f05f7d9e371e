import { invalid } from '../../errors.ts'
import type { ErrorCounts } from '../../operations.ts'

/** The options of a write or touch that one request decides: whether it is an access, and the metadata it records. */
export interface RequestOptions {
  readonly access: boolean
  readonly custom?: string | null | undefined
  readonly errors?: ErrorCounts | undefined
}

/** Error counters that a request adds. */
export interface AddedErrors {
  readonly errors: number
  readonly warnings: number
  readonly notices: number
  readonly message?: string | undefined
}

/**
 * What one request keeps for the writes and touches of its sessions: which accesses it has counted, and the
 * metadata that the next write or touch records.
 */
export class RequestState {
  readonly #counted: Set<string> = new Set()
  #custom: string | null | undefined
  #errors: AddedErrors | undefined
  /** When the user has authenticated in this request, in milliseconds since 1970. Every later write records it. */
  authenticated: number | undefined
  /** Whether a write has recorded it. */
  isAuthenticationStored = true

  /** The custom field to record; undefined if the request has not set it. */
  get custom(): string | null | undefined {
    return this.#custom
  }

  set custom(value: string | null) {
    this.#custom = value
  }

  /** The errors to record. */
  get errors(): AddedErrors | undefined {
    return this.#errors
  }

  get hasMetadata(): boolean {
    return this.#custom !== undefined || this.#errors !== undefined || !this.isAuthenticationStored
  }

  addErrors(added: AddedErrors): void {
    const { errors, warnings, notices, message } = this.#errors ?? NO_ERRORS
    this.#errors = {
      errors: errors + added.errors,
      warnings: warnings + added.warnings,
      notices: notices + added.notices,
      message: added.message ?? message,
    }
  }

  /** Calls `send` at once with the options of this request. If it fails, the metadata is left to the next call. */
  async send<T>(id: string, send: (options: RequestOptions) => Promise<T>): Promise<T> {
    const custom = this.#custom
    const errors = this.#errors
    this.#custom = undefined
    this.#errors = undefined
    try {
      return await send({ access: !this.hasCounted(id), custom, errors })
    } catch (error) {
      const added = this.#errors
      this.#custom = this.#custom === undefined ? custom : this.#custom
      this.#errors = errors
      if (added !== undefined) this.addErrors(added)
      throw error
    }
  }

  /** Returns true if an access to this session has been counted. */
  hasCounted(id: string): boolean {
    return this.#counted.has(id)
  }

  /** The access to this session has been counted: later writes of the request do not count it again. */
  count(id: string): void {
    this.#counted.add(id)
  }
}

const NO_ERRORS: AddedErrors = { errors: 0, warnings: 0, notices: 0 }

/** @throws INVALID_ARGUMENT if the value cannot be a custom field */
export function checkField(value: unknown): asserts value is string | null {
  if (value === null) return
  if (typeof value !== 'string') {
    throw invalid(`Expected the custom field to be a string or null; received ${typeof value}.`)
  }
  if (value.includes('\0') || !value.isWellFormed()) {
    throw invalid(
      'Expected the custom field to be text that PostgreSQL can store; received a NUL or an unpaired surrogate.',
    )
  }
}
