import type { Advice, Amount, Overview } from '../../../src/console/api.ts'
import { getOverview } from '../client.ts'
import { Charts } from '../components/charts.tsx'
import { Events } from '../components/events.tsx'
import { Expiring } from '../components/expiring.tsx'
import { Garbage } from '../components/garbage.tsx'
import { Parts } from '../components/parts.tsx'
import { Servers } from '../components/servers.tsx'
import { Count, None, Problem, Shape, type Tone, Waiting } from '../components/small.tsx'
import { rate, whole } from '../format.ts'
import { live, points, within } from '../live.ts'
import { useLoaded } from '../load.ts'
import { sum } from '../series.ts'

/** Seconds; what moves faster comes through the stream of events. */
const EVERY = 5

export function OverviewPage() {
  const { value, failure } = useLoaded('overview', getOverview, EVERY)
  return (
    <>
      <div class="title">
        <h1 tabIndex={-1}>Overview</h1>
        <span class={`live ${live.value ? 'on' : ''}`}>
          <Shape tone={live.value ? 'good' : 'plain'} />
          {live.value ? 'live' : 'not live'}
        </span>
      </div>
      {value !== undefined && <AdviceList advice={value.advice} />}
      {value === undefined && failure !== undefined && <Problem text={failure.message} />}
      {value === undefined && failure === undefined && <Waiting />}
      {value !== undefined && <Figures of={value} />}
      <Charts />
      {points.value.length > 0 && (
        <>
          <Parts by="name" />
          {(points.value.at(-1)?.perServer.length ?? 0) > 1 && <Parts by="server" />}
        </>
      )}
      {value !== undefined && (
        <>
          <Servers of={value.servers} />
          <div class="columns three">
            <Expiring of={value.expiring} />
            <Garbage runs={value.gc} several={value.servers.length > 1} />
            <Events />
          </div>
        </>
      )}
    </>
  )
}

const TONES: Readonly<Record<Advice['level'], Tone>> = { serious: 'bad', warning: 'warn', info: 'plain' }
const LEVELS: Readonly<Record<Advice['level'], string>> = {
  serious: 'Serious',
  warning: 'Warning',
  info: 'Note',
}

function AdviceList({ advice }: { advice: readonly Advice[] }) {
  if (advice.length === 0) return null
  return (
    <section aria-labelledby="advice">
      <h2 id="advice" class="hidden">
        What wants attention
      </h2>
      <ul class="advice">
        {advice.map(({ level, what, todo, server }) => (
          <li key={`${server} ${what}`} class={TONES[level]}>
            <Shape tone={TONES[level]} />
            <div>
              <span class="hidden">{LEVELS[level]}: </span>
              <b>{what}</b> {todo}
              {server !== undefined && !what.includes(server) && <span class="chip">{server}</span>}
            </div>
          </li>
        ))}
      </ul>
    </section>
  )
}

/** Seconds over which the accesses of now are counted. */
const LATELY = 20

/** What there is to know at a glance. */
function Figures({ of: { sessions, servers } }: { of: Overview }) {
  const known = points.value.filter((point) => point.begun !== null)
  const exact = known.every((point) => point.exact)
  const total = (of: 'begun' | 'ended' | 'errors' | 'warnings', its = true): Amount | undefined =>
    known.length === 0 ? undefined : { value: sum(known.map((point) => point[of] ?? 0)), exact: its }
  const since = Date.parse(known.at(-1)?.at ?? '') - LATELY * 1000
  const lately = known.filter(({ at }) => Date.parse(at) > since)
  const seconds = sum(lately.map((point) => point.seconds))
  const up = servers.filter(({ health }) => health === 'up').length
  const errors = total('errors', exact)
  const note = within.value
  return (
    <dl class="figures-row">
      <Figure name="Sessions now">
        <Count of={sessions} />
      </Figure>
      <Figure name="Created" note={note}>
        <Count of={total('begun')} />
      </Figure>
      <Figure name="Ended" note={note}>
        <Count of={total('ended')} />
      </Figure>
      <Figure name="Accesses" note="per second">
        {seconds > 0 ? rate(sum(lately.map((point) => point.accesses ?? 0)) / seconds) : <None />}
      </Figure>
      <Figure name="Errors" note={note} tone={errors !== undefined && errors.value > 0 ? 'bad' : undefined}>
        <Count of={errors} />
      </Figure>
      <Figure name="Warnings" note={note}>
        <Count of={total('warnings', exact)} />
      </Figure>
      <Figure
        name="Servers"
        note={`of ${whole(servers.length)} up`}
        tone={up < servers.length ? 'bad' : undefined}
      >
        {whole(up)}
      </Figure>
    </dl>
  )
}

interface FigureProps {
  readonly name: string
  readonly note?: string
  readonly tone?: Tone | undefined
  readonly children: preact.ComponentChildren
}

function Figure({ name, note, tone, children }: FigureProps) {
  return (
    <div class={`card figure ${tone ?? ''}`}>
      <dt>{name}</dt>
      <dd>
        <span class="big">{children}</span> {note && <span class="muted">{note}</span>}
      </dd>
    </div>
  )
}
