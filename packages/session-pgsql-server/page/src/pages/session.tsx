import { useState } from 'preact/hooks'
import type { SessionData, SessionDetail } from '../../../src/console/api.ts'
import { getData, getSession, RequestError } from '../client.ts'
import { type Fact, Facts, Loading, None, Problem, When } from '../components/common.tsx'
import { Tree } from '../components/tree.tsx'
import { confirmEnd, confirmEndByField } from '../end-sessions.tsx'
import { bytes, whole } from '../format.ts'
import { useLoaded } from '../load.ts'
import { href } from '../route.ts'
import { isOperator, now } from '../state.ts'

/** The page of one session. */
export function SessionPage({ id }: { id: string }) {
  const { value, failure } = useLoaded(id, () => getSession(id))
  const notFound = failure instanceof RequestError && failure.status === 404
  return (
    <>
      <p>
        <a href={href('sessions')}>Sessions</a>
      </p>
      <h1 tabIndex={-1}>
        Session <span class="id full">{id}</span>
      </h1>
      {notFound && <p class="card empty">There is no such session. It may have ended.</p>}
      {failure !== undefined && !notFound && <Problem text={failure.message} />}
      {value === undefined && failure === undefined && <Loading />}
      {value !== undefined && !notFound && <Detail session={value} />}
    </>
  )
}

function Detail({ session }: { session: SessionDetail }) {
  const { id, field } = session
  const expired = session.expires !== null && Date.parse(session.expires) <= now.value
  return (
    <>
      {isOperator() && (
        <div class="buttons start">
          <button type="button" class="destructive" onClick={() => confirmEnd([id], () => {})}>
            End this session
          </button>
          {field !== null && (
            <button type="button" onClick={() => void confirmEndByField(field, () => {})}>
              End all sessions with this field
            </button>
          )}
        </div>
      )}
      {expired && (
        <p class="card notice">
          This session has expired. GC has not removed it yet, or is configured to keep expired rows.
        </p>
      )}
      <div class="columns">
        <section class="card" aria-labelledby="details">
          <h2 id="details">Details</h2>
          <Facts of={details(session)} />
        </section>
        <section class="card" aria-labelledby="counts">
          <h2 id="counts">Counters</h2>
          <Facts of={counters(session)} />
          {session.errorMessage !== null && (
            <>
              <h3>Last error</h3>
              <p class="message text">{session.errorMessage}</p>
            </>
          )}
        </section>
      </div>
      <Data id={id} />
    </>
  )
}

function details(session: SessionDetail): readonly Fact[] {
  const {
    searchable = [],
    field,
    name,
    created,
    modified,
    expires,
    addressCreated,
    addressModified,
    server,
  } = session
  return [
    {
      name: 'Custom field',
      value: field === null ? <None /> : <SearchLink by="field" value={field} />,
    },
    { name: 'Created', value: <When at={created} /> },
    {
      name: 'Created from',
      value: addressCreated === null ? <None /> : <SearchLink by="address" value={addressCreated} />,
    },
    { name: 'Last access', value: <When at={modified} /> },
    {
      name: 'Accessed from',
      value: addressModified === null ? <None /> : <SearchLink by="address" value={addressModified} />,
    },
    { name: 'Expires', value: <When at={expires} /> },
    ...Object.entries(session.columns ?? {}).map(([column, value]) => ({
      name: column,
      value:
        value === null ? (
          <None />
        ) : searchable.includes(column) ? (
          <SearchLink by={`column.${column}`} value={value} />
        ) : (
          <span class="text">{value}</span>
        ),
    })),
    { name: 'Cookie name', value: name === null ? <None /> : <span class="text">{name}</span> },
    ...(server === undefined ? [] : [{ name: 'Home server', value: <span class="text">{server}</span> }]),
  ]
}

function SearchLink({ by, value }: { by: string; value: string }) {
  return (
    <a class="text" href={href('sessions', { by, q: value })}>
      {value}
    </a>
  )
}

function counters({ accesses, errors, warnings, notices }: SessionDetail): readonly Fact[] {
  return [
    { name: 'Accesses', value: whole(accesses) },
    { name: 'Errors', value: <span class={errors > 0 ? 'bad-text' : ''}>{whole(errors)}</span> },
    { name: 'Warnings', value: <span class={warnings > 0 ? 'warn-text' : ''}>{whole(warnings)}</span> },
    { name: 'Notices', value: whole(notices) },
  ]
}

/** Session data may be personal, so it stays hidden until the operator requests it. */
function Data({ id }: { id: string }) {
  if (!isOperator()) return <p class="card muted">Only operators can view the data of a session.</p>
  return <DataOnDemand id={id} />
}

function DataOnDemand({ id }: { id: string }) {
  const [data, setData] = useState<SessionData>()
  const [failure, setFailure] = useState<string>()
  const [busy, setBusy] = useState(false)
  const load = async () => {
    setBusy(true)
    setFailure(undefined)
    try {
      setData(await getData(id))
    } catch (error) {
      setFailure((error as Error).message)
    }
    setBusy(false)
  }
  return (
    <section class="card" aria-labelledby="data">
      <div class="title">
        <h2 id="data">Data {data?.bytes !== undefined && <span class="unit">{bytes(data.bytes)}</span>}</h2>
        {data === undefined ? (
          <button type="button" disabled={busy} onClick={() => void load()}>
            {busy ? 'Loading…' : 'Show data'}
          </button>
        ) : (
          <button type="button" onClick={() => setData(undefined)}>
            Hide data
          </button>
        )}
      </div>
      {data === undefined && failure === undefined && (
        <p class="muted">The data may be personal. The audit log records each view.</p>
      )}
      {failure !== undefined && <Problem text={failure} />}
      {data !== undefined && <Shown data={data} />}
    </section>
  )
}

function Shown({ data: { data, text, unreadable } }: { data: SessionData }) {
  if (unreadable !== undefined) return <Problem text={unreadable} />
  if (data !== undefined) return <Tree value={data} />
  if (text === undefined) return <p class="empty">The session has no data.</p>
  return (
    <>
      <p class="muted">The data cannot be decoded. This is the stored text:</p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrollable area must be reachable by keyboard */}
      <pre class="raw" tabIndex={0}>
        {text}
      </pre>
    </>
  )
}
