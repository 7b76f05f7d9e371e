/** Another session store, read while its site may still be running. Nothing is written to it. */
export interface Source {
  /** Kind and location of the store, without a password. The same in every run. */
  readonly name: string
  /** Returns the number of sessions, for a progress bar. It may include expired ones. Undefined if it is unknown. */
  count(): Promise<number | undefined>
  /** Reads all sessions in batches. */
  batches(): AsyncIterable<readonly SourceSession[]>
  /** Returns those of these ids whose sessions exist and have not expired. */
  findLive(ids: readonly string[]): Promise<ReadonlySet<string>>
  /** Closes the connections that were opened for the source. */
  close(): Promise<void>
}

export interface SourceSession {
  readonly id: string
  /** The stored data: JSON, or a session of PHP in the form in which the table stores it. */
  readonly text: string
  /** Milliseconds of `performance.now()` at which it expires; undefined if the source does not store it. */
  readonly expires: number | undefined
  /** Whether the store keeps the expiry as a date without a time zone. */
  readonly zoneless?: boolean
  /** The custom field, if the source stores it. */
  readonly custom?: string
}

/** Groups sessions into batches, limited in number and length. */
export async function* inBatches(sessions: AsyncIterable<SourceSession>): AsyncGenerator<SourceSession[]> {
  let batch: SourceSession[] = []
  let length = 0
  for await (const session of sessions) {
    batch.push(session)
    length += session.text.length
    if (batch.length < BATCH_SIZE && length < BATCH_LENGTH) continue
    yield batch
    batch = []
    length = 0
  }
  if (batch.length > 0) yield batch
}

/** Maximum number of sessions in a batch. */
export const BATCH_SIZE = 500

/** Approximate maximum number of characters in a batch. A single session may have more. */
export const BATCH_LENGTH = 4_000_000
