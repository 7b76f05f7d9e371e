import { type Parameter, plain, type Row, type Statement } from '../database/database.ts'
import { timeoutFault } from '../database/faults.ts'
import type { Destroy } from '../session/ended.ts'
import type { Change, StoredSession, Touch } from '../session/stored.ts'
import { hashedId } from '../session/stored-id.ts'
import { type Answer, answersOf, clockOf, GONE, outcomeOf, storedOf } from './answers.ts'
import { sqlName } from './definition.ts'
import {
  answersOfForms,
  deleteDuplicatesText,
  type FormedBatch,
  formsFor,
  formsOf,
  hasMark,
  MARK,
  ofForms,
  underBothForms,
} from './id-forms.ts'
import { rowSecurityFault, triggerFault } from './inspect.ts'
import {
  ANNOUNCED_DESTROYS,
  type BatchSize,
  batchSize,
  DESTROYS,
  type Put,
  type RequestRows,
  type Save,
  TOUCHES,
  type WriteRows,
  writeRows,
} from './requests.ts'
import { lockText, type StatementOptions, type Statements, statements } from './statements.ts'
import type { OpenTable, SessionTable } from './table.ts'

/** The options of the statements that do not follow from the table. */
export type RequestOptions = Omit<StatementOptions, 'guarded' | 'hashing'>

/** Sends one statement for a batch. Resolves to an answer for each request; undefined for a request without one. */
export type SendBatch<Request> = (
  requests: readonly Request[],
  deadlines: readonly number[],
) => Promise<(Answer | undefined)[]>

/**
 * Sends batches of requests for sessions to a table. Each batch is one statement (statements.ts), with the requests under
 * each form of their ids that the table may have (id-forms.ts).
 *
 * Deadlines are in milliseconds of `performance.now()`. Each change is sent with its deadline by the database's clock,
 * and the statement checks it. So a write that arrives after its caller got TIMEOUT does not undo changes that were
 * acknowledged later.
 */
export class RequestSender {
  readonly #table: SessionTable
  readonly #options: RequestOptions
  readonly #rows: WriteRows
  /** For the table as it was last opened. */
  #statements: SessionStatements | undefined

  constructor(table: SessionTable, options: RequestOptions) {
    this.#table = table
    this.#options = options
    this.#rows = writeRows(table.columns)
  }

  /** Returns the session of each id; undefined if it does not exist or has expired. */
  readonly read = async (
    ids: readonly string[],
    deadlines: readonly number[],
  ): Promise<(StoredSession | undefined)[]> => {
    const { rows, opened } = await this.#send(
      'read',
      ({ lookup }) => {
        if (batchSize(ids) === 'one' && lookup !== 'both') return { size: 'one', parameters: [...ids] }
        const forms = lookup === 'plain' ? [...ids, MARK] : lookup === 'both' ? ids.flatMap(formsOf) : ids
        return { size: 'several', parameters: [{ type: 'text', values: forms }] }
      },
      deadlines,
    )
    const readAt = performance.now()
    const last = rows.at(-1) as Row
    if (outcomeOf(last) === 'hidden') {
      this.#table.discard(opened)
      throw rowSecurityFault(opened.name)
    }
    const clock = clockOf(last)
    const found = new Map<string, StoredSession>()
    for (const row of rows) {
      if (outcomeOf(row) !== 'read') continue
      const stored = storedOf(row, opened.cipher, clock, readAt)
      found.set(stored.id, stored)
    }
    if (opened.lookup === 'both') return this.#withoutDuplicates(opened, ids, found)
    if (!found.has(MARK)) return ids.map((id) => found.get(id))
    this.#table.discard(opened)
    return this.read(ids, deadlines)
  }

  readonly quickSave: SendBatch<Save> = (requests, deadlines) =>
    this.#sendRequests('quickSave', this.#rows.saves, requests, deadlines, textOf)

  readonly quickTouch: SendBatch<Touch> = (requests, deadlines) =>
    this.#sendRequests('quickTouch', TOUCHES, requests, deadlines, noText)

  readonly save: SendBatch<Save> = (requests, deadlines) =>
    this.#sendRequests('save', this.#rows.saves, requests, deadlines, textOf)

  readonly put: SendBatch<Put> = async (requests, deadlines) => {
    const { lookup } = await this.#table.open(Math.max(...deadlines))
    return lookup === 'both'
      ? this.#putUnderEitherForm(requests, deadlines)
      : this.#sendRequests('put', this.#rows.puts, requests, deadlines, textOf)
  }

  readonly touch: SendBatch<Touch> = (requests, deadlines) =>
    this.#sendRequests('touch', TOUCHES, requests, deadlines, noText)

  readonly destroy: SendBatch<Destroy> = (requests, deadlines) =>
    this.#table.announcing((announce) =>
      announce
        ? this.#sendRequests('announcedDestroy', ANNOUNCED_DESTROYS, requests, deadlines, noText)
        : this.#sendRequests('destroy', DESTROYS, requests, deadlines, noText),
    )

  /** See `StoredSessions.saveLocked`. */
  async saveLocked(
    id: string,
    decide: (current: StoredSession) => Promise<Save | undefined>,
    deadline: number,
  ): Promise<Answer> {
    const answer = await this.#table.transaction(async (query, opened) => {
      const { cipher, lookup } = opened
      const { lock, bySize } = this.#statementsFor(opened)
      const locked = await query(lock, [{ type: 'text', values: formsFor(lookup, id) }])
      const current = ofForms(locked.map((row) => storedOf(row, cipher, clockOf(row), performance.now())))
      if (current === undefined) {
        if (lookup !== 'plain' || !(await hasMark(query, sqlName(opened.name)))) return GONE
        this.#table.discard(opened)
        return undefined
      }
      const request = await decide(current)
      if (request === undefined) return GONE
      const { saves } = this.#rows
      const save = saves.under(request, current.id)
      const until = this.#table.clockAt(deadline)
      const rows = await query(bySize.one.save, saves.parameters([save], [until], cipher))
      if (isMarked(rows)) {
        this.#table.discard(opened)
        return undefined
      }
      const [answer = GONE] = answersOf(rows, [request.change.text], GONE, cipher)
      if (answer.outcome === 'late') throw timeoutFault('waiting for the row lock', false)
      if (answer.outcome === 'prevented') throw triggerFault(opened.name)
      return answer
    }, deadline)
    return answer ?? this.saveLocked(id, decide, deadline)
  }

  /** Returns the session of each id. If it has two rows, the hashed one counts, and the plain one is deleted. */
  #withoutDuplicates(
    { name }: OpenTable,
    ids: readonly string[],
    found: ReadonlyMap<string, StoredSession>,
  ): (StoredSession | undefined)[] {
    const duplicates: [string, string][] = []
    const sessions = ids.map((id) => {
      const hashed = hashedId(id)
      if (hashed !== id && found.has(hashed) && found.has(id)) duplicates.push([id, hashed])
      return found.get(hashed) ?? found.get(id)
    })
    if (duplicates.length > 0) {
      // In the background; if it fails, the next read repeats it.
      const deadline = performance.now() + DUPLICATE_TIMEOUT
      const parameters = [0, 1].map((form) => ({
        type: 'text' as const,
        values: duplicates.map((one) => one[form] as string),
      }))
      const text = plain(deleteDuplicatesText(sqlName(name)))
      const send = (): Promise<Row[]> => this.#table.queryUnopened(text, parameters, deadline)
      this.#table.limit.run(send, deadline).catch(() => {})
    }
    return sessions
  }

  /** Writes the sessions that exist under either form, and inserts the others under the form of new rows. */
  async #putUnderEitherForm(
    requests: readonly Put[],
    deadlines: readonly number[],
  ): Promise<(Answer | undefined)[]> {
    const { idsMode } = this.#table
    const { saves: saveRows, puts: putRows } = this.#rows
    const stored = await this.read(requests.map(putRows.id), deadlines)
    const answers = requests.map(({ mustBeAbsent }, index): Answer | undefined => {
      const found = stored[index]
      return found !== undefined && mustBeAbsent ? { outcome: 'conflict', stored: found } : undefined
    })
    const places = [...answers.keys()].filter((index) => answers[index] === undefined)
    const existing = places.filter((index) => stored[index] !== undefined)
    const absent = places.filter((index) => stored[index] === undefined)
    const someOf = <T>(all: readonly T[], which: readonly number[]): T[] => which.map((at) => all[at] as T)
    const saves = someOf(requests, existing).map(({ change }): Save => ({ change, base: undefined }))
    const puts = someOf(requests, absent).map((request) =>
      idsMode === 'migrate' ? putRows.under(request, hashedId(putRows.id(request))) : request,
    )
    const [saved, put] = await Promise.all([
      saves.length === 0
        ? []
        : this.#sendRequests('save', saveRows, saves, someOf(deadlines, existing), textOf),
      puts.length === 0 ? [] : this.#sendRequests('put', putRows, puts, someOf(deadlines, absent), textOf),
    ])
    // Ended since it was read: without an answer, the request is sent again.
    for (const [at, place] of existing.entries())
      answers[place] = saved[at]?.outcome === 'gone' ? undefined : saved[at]
    for (const [at, place] of absent.entries()) answers[place] = put[at]
    return answers
  }

  async #sendRequests<Request>(
    kind: keyof Statements,
    rowsOf: RequestRows<Request>,
    requests: readonly Request[],
    deadlines: readonly number[],
    textOf: (request: Request) => string,
  ): Promise<(Answer | undefined)[]> {
    const { id, under, parameters } = rowsOf
    let formed = undefined as FormedBatch<Request> | undefined
    const { rows, opened } = await this.#send(
      kind,
      ({ lookup, cipher }) => {
        formed = lookup === 'both' && kind !== 'put' ? underBothForms(requests, id, under) : undefined
        const sent = formed?.requests ?? requests
        const dueBy = formed?.owners.map((owner) => deadlines[owner] as number) ?? deadlines
        const untils = dueBy.map((deadline) => this.#table.clockAt(deadline))
        return { size: batchSize(sent), parameters: parameters(sent, untils, cipher) }
      },
      deadlines,
    )
    const answers = answersOf(rows, (formed?.requests ?? requests).map(textOf), undefined, opened.cipher)
    return formed === undefined ? answers : answersOfForms(answers, formed, requests.length)
  }

  /**
   * Sends a statement, and again if it has found a mark.
   *
   * @param input called when the table is open, because the database's clock and the forms of ids are unknown before
   * @returns the rows; none if a `put` has found a mark, because it has to look for the other form first
   */
  async #send(
    kind: keyof Statements,
    input: (opened: OpenTable) => { readonly size: BatchSize; readonly parameters: readonly Parameter[] },
    deadlines: readonly number[],
  ): Promise<{ readonly rows: readonly Row[]; readonly opened: OpenTable }> {
    const latest = deadlines.reduce((one, other) => Math.max(one, other))
    const opened = await this.#table.open(latest)
    const { size, parameters } = input(opened)
    const statement = this.#statementsFor(opened).bySize[size][kind]
    const rows =
      kind === 'read'
        ? await this.#table.sendRead(statement, parameters, latest)
        : await this.#table.sendChanges(statement, parameters, latest)
    if (!isMarked(rows)) return { rows, opened }
    this.#table.discard(opened)
    return kind === 'put' ? { rows: [], opened } : this.#send(kind, input, deadlines)
  }

  #statementsFor(opened: OpenTable): SessionStatements {
    if (this.#statements?.opened === opened) return this.#statements
    const bySize = statements(opened, {
      ...this.#options,
      guarded: opened.lookup === 'plain',
      hashing: this.#table.idsMode !== 'plain',
    })
    this.#statements = { opened, bySize, lock: plain(lockText(opened, this.#options.expiryGrace)) }
    return this.#statements
  }
}

/** The statements for a table as it was opened. */
interface SessionStatements {
  readonly opened: OpenTable
  readonly bySize: Readonly<Record<BatchSize, Statements>>
  /** Reads one session and locks its row until the transaction ends. $1: the forms of its id. */
  readonly lock: Statement
}

/** Milliseconds after which the deletion of a second row of a session is given up. */
const DUPLICATE_TIMEOUT = 5000

/** Returns true if the statement has found a mark, and done nothing. */
function isMarked(rows: readonly Row[]): boolean {
  const last = rows.at(-1)
  return last !== undefined && outcomeOf(last) === 'hashed'
}

const textOf = ({ change }: { change: Change }): string => change.text
const noText = (): string => ''
