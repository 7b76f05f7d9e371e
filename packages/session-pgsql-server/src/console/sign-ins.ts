import { createHash, randomBytes } from 'node:crypto'
import { type SaveHandler, SessionPgsqlError } from 'session-pgsql'
import type { Role } from './api.ts'

/** Seconds after which a user must sign in again. */
const LIFETIME = 12 * 3600

/** The maximum number of users of one role that are signed in. Another sign-in ends the one that ends first. */
const MAX_SIGNED_IN = 50

/** What is stored for a role, as one session of the console's own table. */
export interface RoleState {
  /** A random secret, from which the role's signing key is derived. */
  secret?: string
  /** Signed-in users: the end, in seconds since 1970, by the hash of a token. */
  signedIn?: Record<string, number>
}

/** Stores the state of the roles. */
export interface SignInStore {
  read(role: Role): Promise<RoleState | undefined>
  /** Applies the change such that no other comes in between. @returns the result */
  update(role: Role, change: (state: RoleState) => void): Promise<RoleState>
}

/** For one process: for a console without a password, whose token ends with the process, too. */
export class MemorySignIns implements SignInStore {
  readonly #states = new Map<Role, RoleState>()

  async read(role: Role): Promise<RoleState | undefined> {
    return this.#states.get(role)
  }

  async update(role: Role, change: (state: RoleState) => void): Promise<RoleState> {
    const state = this.#states.get(role) ?? {}
    change(state)
    this.#states.set(role, state)
    return state
  }
}

/** The ids in the console's own table. */
export const SIGN_IN_IDS: RegExp = /operator|reader/

/**
 * In a table, which all processes of a console share. One row for each role: it does not grow, however often a user signs
 * in.
 */
export class StoredSignIns implements SignInStore {
  readonly #handler: SaveHandler<RoleState>

  /** @param handler of the console's own table, with `SIGN_IN_IDS` as `idPattern` */
  constructor(handler: SaveHandler<RoleState>) {
    this.#handler = handler
  }

  async read(role: Role): Promise<RoleState | undefined> {
    return (await this.#handler.read(role))?.data
  }

  async update(role: Role, change: (state: RoleState) => void): Promise<RoleState> {
    const { session } = await this.#handler.update(
      role,
      // Returns nothing: a returned object would replace the data.
      (state) => {
        change(state)
      },
      { base: null, name: 'session-pgsql-console' },
    )
    if (session === undefined) throw new Error('Expected the row of the role to exist after an update')
    return session.data
  }
}

/**
 * Signed-in users. A user holds a random token, and the store its hash. During an outage of the store the last known
 * state counts: users stay signed in, to look at the outage, and no other user gets in.
 */
export class SignIns {
  readonly #store: SignInStore
  readonly #last = new Map<Role, RoleState>()

  constructor(store: SignInStore) {
    this.#store = store
  }

  /** Returns the stored state of a role; undefined before the first sign-in. */
  async stateOf(role: Role): Promise<RoleState | undefined> {
    try {
      const state = await this.#store.read(role)
      if (state === undefined) this.#last.delete(role)
      else this.#last.set(role, state)
      return state
    } catch (error) {
      const last = this.#last.get(role)
      if (!isOutage(error) || last === undefined) throw error
      return last
    }
  }

  /** Creates the row of a role if it does not exist. Fails as the first sign-in would. */
  async prepare(role: Role): Promise<void> {
    await this.#update(role, () => {})
  }

  /** Signs a user in. @returns the token and the role's secret */
  async add(role: Role): Promise<{ readonly token: string; readonly secret: string }> {
    const token = randomBytes(24).toString('base64url')
    const { secret = '' } = await this.#update(role, (signedIn) => {
      const [first] = [...signedIn].sort(([, a], [, b]) => a - b)
      if (signedIn.size >= MAX_SIGNED_IN && first !== undefined) signedIn.delete(first[0])
      signedIn.set(hashOf(token), now() + LIFETIME)
    })
    return { token, secret }
  }

  /** Signs a user out. */
  async remove(role: Role, token: string): Promise<void> {
    await this.#update(role, (signedIn) => signedIn.delete(hashOf(token)))
  }

  async #update(role: Role, change: (signedIn: Map<string, number>) => void): Promise<RoleState> {
    const state = await this.#store.update(role, (state) => {
      const signedIn = new Map(Object.entries(state.signedIn ?? {}).filter(([, end]) => end > now()))
      change(signedIn)
      state.secret ??= randomBytes(32).toString('base64url')
      state.signedIn = Object.fromEntries(signedIn)
    })
    this.#last.set(role, state)
    return state
  }
}

/** Returns true if the token is signed in by this state. */
export function isSignedIn({ signedIn = {} }: RoleState, token: string): boolean {
  const hash = hashOf(token)
  return Object.hasOwn(signedIn, hash) && (signedIn[hash] as number) > now()
}

function isOutage(error: unknown): boolean {
  return error instanceof SessionPgsqlError && ['SERVER_DOWN', 'TIMEOUT', 'OVERLOADED'].includes(error.code)
}

const now = (): number => Math.floor(Date.now() / 1000)

const hashOf = (token: string): string => createHash('sha256').update(token).digest('base64url')
