import { useLayoutEffect, useRef, useState } from 'preact/hooks'
import type { SessionsPage as Page, SessionRow } from '../../../src/console/api.ts'
import { Failure, getSessions } from '../client.ts'
import { Ago, Count, None, Problem, SessionLink, Waiting } from '../components/small.tsx'
import { askToEnd, askToEndField } from '../ending.tsx'
import { plural, whole } from '../format.ts'
import { useLoaded } from '../load.ts'
import { go, route } from '../route.ts'
import { mayAct } from '../state.ts'

const LIMIT = 50

const SEARCHES: readonly (readonly [string, string])[] = [
  ['id', 'Id begins with'],
  ['field', 'Custom field'],
  ['address', 'Address'],
  ['error', 'Last error contains'],
]

const ORDERS: Readonly<Record<string, string>> = {
  '-modified': 'last access, newest first',
  modified: 'last access, oldest first',
  '-created': 'begin, newest first',
  created: 'begin, oldest first',
  expires: 'expiry, next first',
  '-expires': 'expiry, last first',
  '-errors': 'errors, most first',
  errors: 'errors, fewest first',
  '-accesses': 'accesses, most first',
  accesses: 'accesses, fewest first',
  id: 'id',
  '-id': 'id, backwards',
}

/** What one wants to see first; but of very many sessions that takes too long to sort. */
let usual = '-modified'

async function find(search: Search, after: string | undefined): Promise<Found> {
  const { by, q, name } = search
  const order = search.order === '' ? usual : search.order
  try {
    const page = await getSessions({ by: q === '' ? undefined : by, q, name, order, after, limit: LIMIT })
    return { ...page, order }
  } catch (error) {
    const refused = error instanceof Failure && error.status === 400
    if (!refused || search.order !== '' || usual === 'id' || after !== undefined) throw error
    usual = 'id'
    return find(search, after)
  }
}

interface Found extends Page {
  /** By which it is. */
  readonly order: string
}

interface Search {
  readonly by: string
  readonly q: string
  readonly name: string
  readonly order: string
}

/** How far one has come in what was found. */
interface Place {
  /** In what. */
  readonly key: string
  /** Where each page so far begins; the last is the one shown. */
  readonly starts: readonly (string | undefined)[]
  readonly picked: ReadonlySet<string>
}

/** Finds sessions, page by page, and ends those that are picked. */
export function SessionsPage() {
  const { query } = route.value
  const asked = (field: string): string => query.get(field) ?? ''
  const search: Search = {
    by: asked('by') || 'id',
    q: asked('q'),
    name: asked('name'),
    order: asked('order'),
  }
  const { by, q, name, order } = search
  const key = JSON.stringify(search)
  const [place, setPlace] = useState<Place>({ key, starts: [undefined], picked: new Set() })
  const { starts, picked } = place.key === key ? place : { starts: [undefined], picked: new Set<string>() }
  const pick = (ids: ReadonlySet<string>) => setPlace({ key, starts, picked: ids })
  const turn = (to: Place['starts']) => {
    setPlace({ key, starts: to, picked: new Set() })
    scrollTo(0, 0)
  }
  const after = starts.at(-1)
  const { value, failure } = useLoaded(`${key} ${after}`, () => find(search, after))
  // While one search follows another, what the last could be sorted by.
  const orders = useRef<readonly string[]>([])
  if (value !== undefined) orders.current = sorted(value.orders)
  const page = value?.sessions
  return (
    <>
      <h1 tabIndex={-1}>Sessions</h1>
      <SearchForm search={{ ...search, order: value?.order ?? order }} orders={orders.current} />
      {failure !== undefined && <Problem text={failure.message} />}
      {page === undefined && failure === undefined && <Waiting />}
      {value !== undefined && page !== undefined && (
        <>
          <div class="above">
            <p role="status">
              <Summary page={value} first={(starts.length - 1) * LIMIT + 1} />
            </p>
            {mayAct() && page.length > 0 && (
              <div class="buttons">
                {by === 'field' && q !== '' && (
                  <button type="button" onClick={() => void askToEndField(q, () => {})}>
                    End all of this field
                  </button>
                )}
                <button
                  type="button"
                  class="grave"
                  disabled={picked.size === 0}
                  onClick={() => askToEnd([...picked], () => pick(new Set()))}
                >
                  End selected ({whole(picked.size)})
                </button>
              </div>
            )}
          </div>
          {page.length === 0 ? (
            <p class="card empty">
              {q === '' && name === '' ? 'There are no sessions.' : 'No session is like that.'}
            </p>
          ) : (
            <Rows page={page} picked={picked} pick={pick} />
          )}
          <div class="buttons paging">
            <button type="button" disabled={starts.length === 1} onClick={() => turn(starts.slice(0, -1))}>
              Previous
            </button>
            <button
              type="button"
              disabled={value.next === undefined}
              onClick={() => turn([...starts, value.next])}
            >
              Next
            </button>
          </div>
        </>
      )}
    </>
  )
}

function Summary({ page: { sessions, total }, first }: { page: Page; first: number }) {
  if (sessions.length === 0) return <>Nothing found.</>
  return (
    <>
      {sessions.length === 1 && first === 1
        ? plural(1, 'session')
        : `${whole(first)} to ${whole(first + sessions.length - 1)}`}
      {total !== undefined && total.value > 1 && (
        <>
          {' of '}
          <Count of={total} />
        </>
      )}
    </>
  )
}

function fill(form: HTMLFormElement | null, values: Readonly<Record<string, string>>): void {
  for (const [field, value] of Object.entries(values)) {
    const element = form?.elements.namedItem(field)
    if (element instanceof HTMLInputElement || element instanceof HTMLSelectElement) element.value = value
  }
}

/** As they are listed above; what is not, last. */
function sorted(orders: readonly string[]): readonly string[] {
  const known = Object.keys(ORDERS)
  const rank = (order: string) => (known.includes(order) ? known.indexOf(order) : known.length)
  return orders.toSorted((one, other) => rank(one) - rank(other))
}

function SearchForm({
  search: { by, q, name, order },
  orders,
}: {
  search: Search
  orders: readonly string[]
}) {
  const form = useRef<HTMLFormElement>(null)
  const submit = () => {
    if (form.current === null) return
    const data = new FormData(form.current)
    const text = (field: string) => String(data.get(field) ?? '').trim()
    const wanted = text('q')
    go('sessions', {
      by: wanted === '' ? undefined : text('by'),
      q: wanted,
      name: text('name'),
      order: text('order'),
    })
  }
  // What comes by a link, or by going back, is in the form too; but what is being typed stays. Before anybody sees
  // it, for whoever is quick would be undone.
  useLayoutEffect(() => fill(form.current, { by, q, name }), [by, q, name])
  useLayoutEffect(() => fill(form.current, { order }), [order, orders])
  return (
    <search>
      <form
        ref={form}
        class="card search"
        onSubmit={(event) => {
          event.preventDefault()
          submit()
        }}
      >
        <div>
          <label for="by">Search by</label>
          <select id="by" name="by">
            {SEARCHES.map(([value, label]) => (
              <option key={value} value={value}>
                {label}
              </option>
            ))}
          </select>
        </div>
        <div class="grow">
          <label for="search">
            For <kbd title="The key / brings you here">/</kbd>
          </label>
          <input
            id="search"
            name="q"
            type="search"
            autocomplete="off"
            autocapitalize="off"
            spellcheck={false}
          />
        </div>
        <div>
          <label for="name">Cookie name</label>
          <input id="name" name="name" placeholder="any" autocomplete="off" spellcheck={false} />
        </div>
        {orders.length > 0 && (
          <div>
            <label for="order">Sort by</label>
            <select id="order" name="order" onChange={submit}>
              {orders.map((one) => (
                <option key={one} value={one}>
                  {ORDERS[one] ?? one}
                </option>
              ))}
            </select>
          </div>
        )}
        <button type="submit" class="main">
          Search
        </button>
      </form>
    </search>
  )
}

interface RowsProps {
  readonly page: readonly SessionRow[]
  readonly picked: ReadonlySet<string>
  readonly pick: (ids: ReadonlySet<string>) => void
}

function Rows({ page, picked, pick }: RowsProps) {
  const all = page.every(({ id }) => picked.has(id))
  const some = page.some(({ id }) => picked.has(id))
  return (
    <div class="card scroll">
      <table class="sessions">
        <thead>
          <tr>
            {mayAct() && (
              <th scope="col" class="pick">
                <input
                  type="checkbox"
                  aria-label="Select all on this page"
                  checked={all}
                  ref={(box) => {
                    if (box !== null) box.indeterminate = some && !all
                  }}
                  onChange={() => pick(new Set(all ? [] : page.map(({ id }) => id)))}
                />
              </th>
            )}
            <th scope="col">Session</th>
            <th scope="col" class="broad">
              Field
            </th>
            <th scope="col">Last access</th>
            <th scope="col" class="wide">
              Begun
            </th>
            <th scope="col" class="wide">
              Expires
            </th>
            <th scope="col" class="medium">
              From
            </th>
            <th scope="col" class="number medium">
              Accesses
            </th>
            <th scope="col" class="number">
              Errors
            </th>
          </tr>
        </thead>
        <tbody>
          {page.map((row) => (
            <Row key={row.id} row={row} picked={picked} pick={pick} />
          ))}
        </tbody>
      </table>
    </div>
  )
}

function Row({ row, picked, pick }: Omit<RowsProps, 'page'> & { row: SessionRow }) {
  const { id, name, field, modified, created, expires, addressModified, addressCreated, accesses } = row
  const is = picked.has(id)
  const toggle = () => {
    const next = new Set(picked)
    if (is) next.delete(id)
    else next.add(id)
    pick(next)
  }
  return (
    <tr class={is ? 'picked' : ''}>
      {mayAct() && (
        <td class="pick">
          <input type="checkbox" aria-label={`Select ${id.slice(0, 8)}`} checked={is} onChange={toggle} />
        </td>
      )}
      <th scope="row">
        <SessionLink id={id} />
        <span class="under clip narrow">{field}</span>
        {name !== null && <span class="muted under clip">{name}</span>}
      </th>
      <td class="broad">
        <span class="clip" title={field ?? undefined}>
          {field ?? <None />}
        </span>
      </td>
      <td class="nowrap">
        <Ago at={modified} />
      </td>
      <td class="nowrap wide">
        <Ago at={created} />
      </td>
      <td class="nowrap wide">
        <Ago at={expires} />
      </td>
      <td class="medium figures">
        <span class="clip" title={addressModified ?? addressCreated ?? undefined}>
          {addressModified ?? addressCreated ?? <None />}
        </span>
      </td>
      <td class="number medium">{whole(accesses)}</td>
      <td class="number">
        <Errors of={row} />
      </td>
    </tr>
  )
}

function Errors({ of: { errors, warnings, errorMessage } }: { of: SessionRow }) {
  return (
    <span title={errorMessage ?? undefined}>
      <span class={errors > 0 ? 'bad-text' : 'muted'}>{whole(errors)}</span>
      {warnings > 0 && <span class="warn-text under">{plural(warnings, 'warning')}</span>}
    </span>
  )
}
