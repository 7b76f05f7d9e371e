/**
 * The site that the cases test over real HTTP: a small one whose sessions are in the store. Its routes respond with
 * a status below 400 on success, and with 500 or more if the store fails.
 *
 * - `GET /read`: returns the session's data as a JSON object, `{}` without a session; changes nothing
 * - `POST /set?key=k&value=v`: sets a key to a string
 * - `POST /delete?key=k`: deletes a key
 * - `POST /sign-in?user=u`: gives the session a new id where the framework can, and sets the key `user`
 * - `POST /sign-out`: destroys the session
 *
 * Two more are optional. A case that needs one is not tried if the response is a 404:
 *
 * - `POST /edit?key=k&path=p&value=v`: changes a part of the value of a key, as `edited` does
 * - `POST /count?key=k&also=a`: sets the key `a` to `1`, adds one to the number under `k` with the store's atomic update,
 *   and returns the new number as text
 *
 * All but `read` and the sign-in and sign-out take the parameter `wait`. After reading the session and before changing
 * it they await `pause` with its value.
 */
export interface ConformanceSite {
  /** The URL of the site, without a slash at the end. */
  readonly url: string
  /** Stops the site as the end of its process would. The store keeps what is outside the process. */
  stop(): Promise<void>
  /** The store, if it has express-session's contract. */
  readonly store?: CallbackStore
  /** The store's functions for all sessions of one user, if it has them. */
  readonly users?: {
    /** Returns the number of the user's sessions. */
    count(user: string): Promise<number>
    /** Ends all sessions of the user. */
    signOut(user: string): Promise<void>
  }
}

export interface StartOptions {
  /** Await it with a request's parameter `wait`. It returns at once without one. */
  readonly pause: (wait: string | null | undefined) => Promise<void>
  /**
   * Seconds after which an operation on the database should fail, for stores with such an option. Requests to the
   * site fail after 30 seconds.
   */
  readonly timeout: number
}

/** A place where sessions are stored, such as a database. */
export interface ConformancePlace {
  /**
   * Starts a site on a free port. Sites at the same place share their sessions, as the processes of one site do. It
   * may return before the database is reachable.
   */
  start(options: StartOptions): Promise<ConformanceSite>
}

/**
 * A store under test. Everything except `name` and `start` is optional: a case that needs a missing part is left out
 * and says so.
 */
export interface ConformanceSubject extends ConformancePlace {
  readonly name: string
  /**
   * Seconds that a session lives after its last access; for `passTime`. With 9 hours or more the case of the time
   * zone detects nothing.
   */
  readonly lifetime?: number
  /** Moves the expiry of every stored session back by so many seconds, as if that time had passed. */
  passTime?(seconds: number): Promise<void>
  /** Returns a text that differs after every write to the store, even of unchanged data. */
  fingerprint?(): Promise<string>
  /** The faults that the subject can cause in the database. */
  readonly faults?: {
    /** The database refuses connections, and open ones are cut. */
    readonly away?: Fault
    /** Connections stay open without any reply. At the end, whatever was sent is lost. */
    readonly silent?: Fault
    /** The database replies with errors to reads and writes of sessions. */
    readonly failing?: Fault
  }
  /** Sets the database's time zone for new connections. */
  setTimeZone?(zone: string): Promise<void>
  /** Returns an empty place, without even a table. */
  emptyPlace?(): Promise<ConformancePlace & { remove(): Promise<void> }>
  /** By the id of a case: the reason why it cannot hold. Such a case is left out. */
  readonly cannot?: Readonly<Record<string, string>>
}

/** A fault that lasts from `begin` to `end`. */
export interface Fault {
  begin(): Promise<void>
  end(): Promise<void>
}

/** The part of express-session's contract that the cases call directly. */
export interface CallbackStore {
  get(id: string, callback: (error?: unknown, session?: unknown) => void): void
  set(id: string, session: never, callback: (error?: unknown) => void): void
  touch?(id: string, session: never, callback: (error?: unknown) => void): void
  destroy(id: string, callback: (error?: unknown) => void): void
}
