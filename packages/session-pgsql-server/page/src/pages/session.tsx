import { useState } from 'preact/hooks'
import type { SessionData, SessionDetail } from '../../../src/console/api.ts'
import { Failure, getSession, lookAtData } from '../client.ts'
import { type Fact, Facts, None, Problem, Waiting, When } from '../components/small.tsx'
import { Tree } from '../components/tree.tsx'
import { askToEnd, askToEndField } from '../ending.tsx'
import { bytes, whole } from '../format.ts'
import { useLoaded } from '../load.ts'
import { href } from '../route.ts'
import { mayAct, now } from '../state.ts'

/** One session. */
export function SessionPage({ id }: { id: string }) {
  const { value, failure } = useLoaded(id, () => getSession(id))
  const gone = failure instanceof Failure && failure.status === 404
  return (
    <>
      <p class="way">
        <a href={href('sessions')}>Sessions</a>
      </p>
      <h1 tabIndex={-1}>
        Session <span class="id whole">{id}</span>
      </h1>
      {gone && <p class="card empty">There is no such session: it has ended, or it never was.</p>}
      {failure !== undefined && !gone && <Problem text={failure.message} />}
      {value === undefined && failure === undefined && <Waiting />}
      {value !== undefined && !gone && <Detail session={value} />}
    </>
  )
}

function Detail({ session }: { session: SessionDetail }) {
  const { id, field } = session
  const expired = session.expires !== null && Date.parse(session.expires) <= now.value
  return (
    <>
      {mayAct() && (
        <div class="buttons start">
          <button type="button" class="grave" onClick={() => askToEnd([id], () => {})}>
            End this session
          </button>
          {field !== null && (
            <button type="button" onClick={() => void askToEndField(field, () => {})}>
              End all of this field
            </button>
          )}
        </div>
      )}
      {expired && <p class="card note">It has expired; GC has not come by yet, or keeps such rows.</p>}
      <div class="columns">
        <section class="card" aria-labelledby="who">
          <h2 id="who">Who and when</h2>
          <Facts of={whoAndWhen(session)} />
        </section>
        <section class="card" aria-labelledby="counts">
          <h2 id="counts">Counted</h2>
          <Facts of={counted(session)} />
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

function whoAndWhen(session: SessionDetail): readonly Fact[] {
  const { field, name, created, modified, expires, addressCreated, addressModified, server } = session
  return [
    {
      name: 'Custom field',
      value: field === null ? <None /> : <SearchLink by="field" value={field} />,
    },
    { name: 'Created', value: <When at={created} /> },
    {
      name: 'From',
      value: addressCreated === null ? <None /> : <SearchLink by="address" value={addressCreated} />,
    },
    { name: 'Last access', value: <When at={modified} /> },
    {
      name: 'From ',
      value: addressModified === null ? <None /> : <SearchLink by="address" value={addressModified} />,
    },
    { name: 'Expires', value: <When at={expires} /> },
    { name: 'Cookie name', value: name === null ? <None /> : <span class="text">{name}</span> },
    ...(server === undefined ? [] : [{ name: 'Home', value: <span class="text">{server}</span> }]),
  ]
}

function SearchLink({ by, value }: { by: string; value: string }) {
  return (
    <a class="text" href={href('sessions', { by, q: value })}>
      {value}
    </a>
  )
}

function counted({ accesses, errors, warnings, notices }: SessionDetail): readonly Fact[] {
  return [
    { name: 'Accesses', value: whole(accesses) },
    { name: 'Errors', value: <span class={errors > 0 ? 'bad-text' : ''}>{whole(errors)}</span> },
    { name: 'Warnings', value: <span class={warnings > 0 ? 'warn-text' : ''}>{whole(warnings)}</span> },
    { name: 'Notices', value: whole(notices) },
  ]
}

/** What the session holds is somebody's: it stays hidden until it is asked for. */
function Data({ id }: { id: string }) {
  if (!mayAct()) return <p class="card muted">Who may only read does not see what a session holds.</p>
  return <DataOnDemand id={id} />
}

function DataOnDemand({ id }: { id: string }) {
  const [data, setData] = useState<SessionData>()
  const [failure, setFailure] = useState<string>()
  const [busy, setBusy] = useState(false)
  const look = async () => {
    setBusy(true)
    setFailure(undefined)
    try {
      setData(await lookAtData(id))
    } catch (error) {
      setFailure((error as Error).message)
    }
    setBusy(false)
  }
  return (
    <section class="card data" aria-labelledby="data">
      <div class="title">
        <h2 id="data">Data {data !== undefined && <span class="unit">{bytes(data.bytes)}</span>}</h2>
        {data === undefined ? (
          <button type="button" disabled={busy} onClick={() => void look()}>
            {busy ? 'One moment…' : 'Show the data'}
          </button>
        ) : (
          <button type="button" onClick={() => setData(undefined)}>
            Hide
          </button>
        )}
      </div>
      {data === undefined && failure === undefined && (
        <p class="muted">Hidden: it is your user’s. Each look is noted in the audit log.</p>
      )}
      {failure !== undefined && <Problem text={failure} />}
      {data !== undefined && <Shown data={data} />}
    </section>
  )
}

function Shown({ data: { data, text } }: { data: SessionData }) {
  if (data !== undefined) return <Tree value={data} />
  if (text === undefined) return <p class="empty">It holds nothing.</p>
  return (
    <>
      <p class="muted">It does not decode. This is what is stored:</p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard */}
      <pre class="raw" tabIndex={0}>
        {text}
      </pre>
    </>
  )
}
