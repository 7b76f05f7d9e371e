/**
 * What is held against the cases: a small site whose sessions lie in the store, over real HTTP. All of its
 * routes answer with a status below 400 if they are well, and with 500 or more if the store fails.
 *
 * - `GET /read`: the session's data as a JSON object, `{}` if there is no session; changes nothing
 * - `POST /set?key=k&value=v`: sets a key to a string
 * - `POST /delete?key=k`: deletes a key
 * - `POST /sign-in?user=u`: gives the session a new id where the framework can, and sets the key `user`
 * - `POST /sign-out`: destroys the session
 *
 * `set` and `delete` take `&wait=…` and await `pause` with it, after they have read the session and before they
 * change it.
 */
export interface ConformanceSite {
  /** Where it listens, without a slash at the end. */
  readonly url: string
  /** Ends the site as the end of its process would; what the store keeps outside of the process stays. */
  stop(): Promise<void>
  /** The store itself, if it has express-session's contract. */
  readonly store?: CallbackStore
  /** What the store offers about the sessions of one user, as it was signed in. */
  readonly users?: {
    /** How many sessions the user has. */
    count(user: string): Promise<number>
    /** Ends all of them. */
    signOut(user: string): Promise<void>
  }
}

export interface StartOptions {
  /** To be awaited with the parameter `wait` of a request; returns at once without one. */
  readonly pause: (wait: string | null | undefined) => Promise<void>
  /**
   * Seconds after which an operation on the database shall be given up, for stores that can be told. Requests to
   * the site are given up after 30 seconds.
   */
  readonly timeout: number
}

/** A place where sessions can lie: a database, a Redis. */
export interface ConformancePlace {
  /**
   * Starts a site on a free port. Those that are started at the same place share their sessions, as processes
   * of one site do. May return before the database can be reached.
   */
  start(options: StartOptions): Promise<ConformanceSite>
}

/**
 * A store in its site, and what can be done to it. All but `name` and `start` is optional: cases that need what
 * is not there are left out, and say so.
 */
export interface ConformanceSubject extends ConformancePlace {
  readonly name: string
  /**
   * How long its sessions live after their last access, in seconds; with `passTime`. Take less than 9 hours, or a
   * change of the time zone does not show.
   */
  readonly lifetime?: number
  /** Brings the end of every stored session nearer by so many seconds, as if that time had passed. */
  passTime?(seconds: number): Promise<void>
  /** A text that is another one after every write to the store, also if the same was written again. */
  fingerprint?(): Promise<string>
  /** What can happen to the database. */
  readonly faults?: {
    /** It refuses connections, and those that were open are cut off. */
    readonly away?: Fault
    /** Connections stay open, and nothing ever comes back on them. What was sent meanwhile is lost at the end. */
    readonly silent?: Fault
    /** It answers reads and writes of sessions with errors. */
    readonly failing?: Fault
  }
  /** Sets the time zone of the database, for connections that are opened after it. */
  setTimeZone?(zone: string): Promise<void>
  /** A place where nothing is yet, not even a table. */
  emptyPlace?(): Promise<ConformancePlace & { remove(): Promise<void> }>
  /** By the id of a case: why it cannot be expected. It is left out then. */
  readonly cannot?: Readonly<Record<string, string>>
}

/** Something that lasts from `begin` to `end`. */
export interface Fault {
  begin(): Promise<void>
  end(): Promise<void>
}

/** The part of express-session's contract that is called directly. */
export interface CallbackStore {
  get(id: string, callback: (error?: unknown, session?: unknown) => void): void
  set(id: string, session: never, callback: (error?: unknown) => void): void
  touch?(id: string, session: never, callback: (error?: unknown) => void): void
  destroy(id: string, callback: (error?: unknown) => void): void
}
