import { useLayoutEffect, useRef, useState } from 'preact/hooks'
import type { SessionsPage as Page, SessionRow } from '../../../src/console/api.ts'
import { getSessions, RequestError } from '../client.ts'
import { Ago, Count, Loading, None, Problem, SessionLink } from '../components/common.tsx'
import { confirmEnd, confirmEndAll, confirmEndByField } from '../end-sessions.tsx'
import { plural, whole } from '../format.ts'
import { useLoaded } from '../load.ts'
import { go, route } from '../route.ts'
import { isOperator } from '../state.ts'

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
  '-created': 'created, newest first',
  created: 'created, oldest first',
  expires: 'expires, soonest first',
  '-expires': 'expires, latest first',
  '-errors': 'errors, most first',
  errors: 'errors, fewest first',
  '-accesses': 'accesses, most first',
  accesses: 'accesses, fewest first',
  id: 'id, ascending',
  '-id': 'id, descending',
}

/** The default order. It becomes the id once the console rejects it, because there are too many sessions to sort. */
let defaultOrder = '-modified'

async function find(search: Search, after: string | undefined): Promise<Found> {
  const { by, q, name } = search
  const order = search.order === '' ? defaultOrder : search.order
  try {
    const page = await getSessions({ by: q === '' ? undefined : by, q, name, order, after, limit: LIMIT })
    return { ...page, order }
  } catch (error) {
    const rejected = error instanceof RequestError && error.status === 400
    if (!rejected || search.order !== '' || defaultOrder === 'id' || after !== undefined) throw error
    defaultOrder = 'id'
    return find(search, after)
  }
}

interface Found extends Page {
  /** The order of the sessions. */
  readonly order: string
}

interface Search {
  readonly by: string
  readonly q: string
  readonly name: string
  readonly order: string
}

/** The state of a result list. */
interface ListState {
  /** The search that the state belongs to. */
  readonly key: string
  /** The cursor of each page up to the one shown. */
  readonly cursors: readonly (string | undefined)[]
  readonly selected: ReadonlySet<string>
}

/** Searches sessions, lists them page by page and ends the selected ones. */
export function SessionsPage() {
  const { query } = route.value
  const parameter = (name: string): string => query.get(name) ?? ''
  const search: Search = {
    by: parameter('by') || 'id',
    q: parameter('q'),
    name: parameter('name'),
    order: parameter('order'),
  }
  const { by, q, name, order } = search
  const key = JSON.stringify(search)
  const initial: ListState = { key, cursors: [undefined], selected: new Set() }
  const [state, setState] = useState<ListState>(initial)
  const { cursors, selected } = state.key === key ? state : initial
  const select = (ids: ReadonlySet<string>) => setState({ key, cursors, selected: ids })
  const showPage = (path: ListState['cursors']) => {
    setState({ key, cursors: path, selected: new Set() })
    scrollTo(0, 0)
  }
  const after = cursors.at(-1)
  const { value, failure } = useLoaded(`${key} ${after}`, () => find(search, after))
  // While a search is loading, the form keeps the orders of the previous one.
  const orders = useRef<readonly string[]>([])
  const columns = useRef<readonly string[]>([])
  if (value !== undefined) {
    orders.current = sorted(value.orders)
    columns.current = value.columns ?? []
  }
  const page = value?.sessions
  return (
    <>
      <h1 tabIndex={-1}>Sessions</h1>
      <SearchForm
        search={{ ...search, order: value?.order ?? order }}
        orders={orders.current}
        columns={columns.current}
      />
      {failure !== undefined && <Problem text={failure.message} />}
      {page === undefined && failure === undefined && <Loading />}
      {value !== undefined && page !== undefined && (
        <>
          <div class="toolbar">
            <p role="status">
              <Summary page={value} first={(cursors.length - 1) * LIMIT + 1} />
            </p>
            {isOperator() && page.length > 0 && (
              <div class="buttons">
                {by === 'field' && q !== '' && (
                  <button type="button" onClick={() => void confirmEndByField(q, () => {})}>
                    End all sessions with this field
                  </button>
                )}
                {q === '' && name === '' && (
                  <button type="button" onClick={() => confirmEndAll(() => select(new Set()))}>
                    End all sessions
                  </button>
                )}
                <button
                  type="button"
                  class="destructive"
                  disabled={selected.size === 0}
                  onClick={() => confirmEnd([...selected], () => select(new Set()))}
                >
                  End selected ({whole(selected.size)})
                </button>
              </div>
            )}
          </div>
          {value.missing !== undefined && (
            <Problem text={`Cannot reach ${value.missing.join(', ')}. The sessions there are not listed.`} />
          )}
          {page.length === 0 ? (
            <p class="card empty">
              {q === '' && name === '' ? 'There are no sessions.' : 'No sessions match the search.'}
            </p>
          ) : (
            <Rows page={page} selected={selected} select={select} />
          )}
          <div class="buttons">
            <button
              type="button"
              disabled={cursors.length === 1}
              onClick={() => showPage(cursors.slice(0, -1))}
            >
              Previous
            </button>
            <button
              type="button"
              disabled={value.next === undefined}
              onClick={() => showPage([...cursors, value.next])}
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
  if (sessions.length === 0) return <>No sessions found.</>
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

/** Sorts orders as they are listed in `ORDERS`, unknown ones last. */
function sorted(orders: readonly string[]): readonly string[] {
  const known = Object.keys(ORDERS)
  const rank = (order: string) => (known.includes(order) ? known.indexOf(order) : known.length)
  return orders.toSorted((a, b) => rank(a) - rank(b))
}

function SearchForm({
  search: { by, q, name, order },
  orders,
  columns,
}: {
  search: Search
  orders: readonly string[]
  /** The own columns of the session table. */
  columns: readonly string[]
}) {
  const searches = [...SEARCHES, ...columns.map((column) => [`column.${column}`, column] as const)]
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
  // Copies the search of the URL into the form. A layout effect runs before the browser paints, so it cannot overwrite
  // what a fast user has typed.
  useLayoutEffect(() => fill(form.current, { by, q, name }), [by, q, name])
  // An own column can be chosen only when the first answer has named it.
  const known = columns.includes(by.replace(/^column\./, ''))
  useLayoutEffect(() => {
    if (known) fill(form.current, { by })
  }, [by, known])
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
            {searches.map(([value, label]) => (
              <option key={value} value={value}>
                {label}
              </option>
            ))}
          </select>
        </div>
        <div class="grow">
          <label for="search">
            Search text <kbd title="Press / to go to the search">/</kbd>
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
  readonly selected: ReadonlySet<string>
  readonly select: (ids: ReadonlySet<string>) => void
}

function Rows({ page, selected, select }: RowsProps) {
  const all = page.every(({ id }) => selected.has(id))
  const some = page.some(({ id }) => selected.has(id))
  return (
    <div class="card scroll">
      <table class="sessions">
        <thead>
          <tr>
            {isOperator() && (
              <th scope="col" class="checkbox">
                <input
                  type="checkbox"
                  aria-label="Select all on this page"
                  checked={all}
                  ref={(box) => {
                    if (box !== null) box.indeterminate = some && !all
                  }}
                  onChange={() => select(new Set(all ? [] : page.map(({ id }) => id)))}
                />
              </th>
            )}
            <th scope="col">Session</th>
            <th scope="col" class="broad">
              Field
            </th>
            <th scope="col">Last access</th>
            <th scope="col" class="wide">
              Created
            </th>
            <th scope="col" class="wide">
              Expires
            </th>
            <th scope="col" class="medium">
              Address
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
            <Row key={row.id} row={row} selected={selected} select={select} />
          ))}
        </tbody>
      </table>
    </div>
  )
}

function Row({ row, selected, select }: Omit<RowsProps, 'page'> & { row: SessionRow }) {
  const { id, name, field, modified, created, expires, addressModified, addressCreated, accesses } = row
  const isSelected = selected.has(id)
  const toggle = () => {
    const next = new Set(selected)
    if (isSelected) next.delete(id)
    else next.add(id)
    select(next)
  }
  return (
    <tr class={isSelected ? 'selected' : ''}>
      {isOperator() && (
        <td class="checkbox">
          <input
            type="checkbox"
            aria-label={`Select ${id.slice(0, 8)}`}
            checked={isSelected}
            onChange={toggle}
          />
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
      <td class="medium tabular">
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
