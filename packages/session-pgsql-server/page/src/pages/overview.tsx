import type { Advice, Overview } from '../../../src/console/api.ts'
import { getOverview } from '../client.ts'
import { Charts } from '../components/charts.tsx'
import { Events } from '../components/events.tsx'
import { Expiring } from '../components/expiring.tsx'
import { Garbage } from '../components/garbage.tsx'
import { Names } from '../components/names.tsx'
import { Servers } from '../components/servers.tsx'
import { Count, None, Problem, Shape, type Tone, Waiting } from '../components/small.tsx'
import { rate, whole } from '../format.ts'
import { live, PERIODS, period, points } from '../live.ts'
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
      {value !== undefined && (
        <>
          <Servers of={value.servers} />
          <div class="columns">
            <Names of={value.byName} />
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

/** What there is to know at a glance. */
function Figures({ of: { sessions, servers } }: { of: Overview }) {
  const known = points.value.filter((point) => point.begun !== null)
  const total = (of: 'begun' | 'ended' | 'errors' | 'warnings') => {
    const its = known.flatMap((point) => point[of] ?? [])
    return its.length === 0 ? undefined : sum(its)
  }
  const lately = known.slice(-10)
  const seconds = sum(lately.map((point) => point.seconds))
  const up = servers.filter(({ health }) => health === 'up').length
  const within = `in the last ${(PERIODS.find(({ minutes }) => minutes === period.value)?.label ?? '').replace(/^1 /, '')}`
  const errors = total('errors')
  return (
    <dl class="figures-row">
      <Figure name="Sessions now">
        <Count of={sessions} />
      </Figure>
      <Figure name="Begun" note={within}>
        {of(total('begun'))}
      </Figure>
      <Figure name="Ended" note={within}>
        {of(total('ended'))}
      </Figure>
      <Figure name="Accesses" note="per second">
        {seconds > 0 ? rate(sum(lately.map((point) => point.accesses ?? 0)) / seconds) : <None />}
      </Figure>
      <Figure name="Errors" note={within} tone={errors !== undefined && errors > 0 ? 'bad' : undefined}>
        {of(errors)}
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

const of = (value: number | undefined) => (value === undefined ? <None /> : whole(value))

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
