import type { Advice, Amount, Overview } from '../../../src/console/api.ts'
import { getOverview } from '../client.ts'
import { Breakdown } from '../components/breakdown.tsx'
import { Charts } from '../components/charts.tsx'
import { Count, Loading, None, Problem, Shape, type Tone } from '../components/common.tsx'
import { Events } from '../components/events.tsx'
import { Expiring } from '../components/expiring.tsx'
import { GarbageCollection } from '../components/garbage-collection.tsx'
import { Servers } from '../components/servers.tsx'
import { rate, whole } from '../format.ts'
import { live, periodText, points } from '../live.ts'
import { useLoaded } from '../load.ts'
import { sum } from '../series.ts'

/** Seconds between two requests. What changes faster comes through the live stream. */
const RELOAD_INTERVAL = 5

export function OverviewPage() {
  const { value, failure } = useLoaded('overview', getOverview, RELOAD_INTERVAL)
  return (
    <>
      <div class="title">
        <h1 tabIndex={-1}>Overview</h1>
        <span class={`live ${live.value ? 'on' : ''}`}>
          <Shape tone={live.value ? 'good' : 'plain'} />
          {live.value ? 'live' : 'disconnected'}
        </span>
      </div>
      {value !== undefined && <AdviceList advice={value.advice} />}
      {value === undefined && failure !== undefined && <Problem text={failure.message} />}
      {value === undefined && failure === undefined && <Loading />}
      {value !== undefined && <KeyMetrics of={value} />}
      <Charts />
      {points.value.length > 0 && (
        <>
          <Breakdown by="name" />
          {(points.value.at(-1)?.perServer.length ?? 0) > 1 && <Breakdown by="server" />}
        </>
      )}
      {value !== undefined && (
        <>
          <Servers of={value.servers} />
          <div class="columns three">
            <Expiring of={value.expiring} />
            <GarbageCollection runs={value.gc} several={value.servers.length > 1} />
            <Events />
          </div>
        </>
      )}
    </>
  )
}

const TONES: Readonly<Record<Advice['level'], Tone>> = { critical: 'bad', warning: 'warn', info: 'plain' }
const LEVELS: Readonly<Record<Advice['level'], string>> = {
  critical: 'Critical',
  warning: 'Warning',
  info: 'Note',
}

function AdviceList({ advice }: { advice: readonly Advice[] }) {
  if (advice.length === 0) return null
  return (
    <section aria-labelledby="advice">
      <h2 id="advice" class="hidden">
        Advice
      </h2>
      <ul class="advice">
        {advice.map(({ level, message, action, server }) => (
          <li key={`${server} ${message}`} class={TONES[level]}>
            <Shape tone={TONES[level]} />
            <div>
              <span class="hidden">{LEVELS[level]}: </span>
              <b>{message}</b> {action}
              {server !== undefined && !message.includes(server) && <span class="chip">{server}</span>}
            </div>
          </li>
        ))}
      </ul>
    </section>
  )
}

/** The current access rate is the average over this many seconds. */
const RATE_WINDOW = 20

/** The most important metrics as large numbers. */
function KeyMetrics({ of: { sessions, servers } }: { of: Overview }) {
  const known = points.value.filter((point) => point.created !== null)
  const allExact = known.every((point) => point.exact)
  const total = (of: 'created' | 'ended' | 'errors' | 'warnings', exact = true): Amount | undefined =>
    known.length === 0 ? undefined : { value: sum(known.map((point) => point[of] ?? 0)), exact }
  const since = Date.parse(known.at(-1)?.at ?? '') - RATE_WINDOW * 1000
  const recent = known.filter(({ at }) => Date.parse(at) > since)
  const seconds = sum(recent.map((point) => point.seconds))
  const up = servers.filter(({ health }) => health === 'up').length
  const errors = total('errors', allExact)
  const period = periodText.value
  return (
    <dl class="key-metrics">
      <KeyMetric name="Active sessions">
        <Count of={sessions} />
      </KeyMetric>
      <KeyMetric name="Created" caption={period}>
        <Count of={total('created')} />
      </KeyMetric>
      <KeyMetric name="Ended" caption={period}>
        <Count of={total('ended')} />
      </KeyMetric>
      <KeyMetric name="Accesses" caption="per second">
        {seconds > 0 ? rate(sum(recent.map((point) => point.accesses ?? 0)) / seconds) : <None />}
      </KeyMetric>
      <KeyMetric
        name="Errors"
        caption={period}
        tone={errors !== undefined && errors.value > 0 ? 'bad' : undefined}
      >
        <Count of={errors} />
      </KeyMetric>
      <KeyMetric name="Warnings" caption={period}>
        <Count of={total('warnings', allExact)} />
      </KeyMetric>
      <KeyMetric
        name="Servers"
        caption={`of ${whole(servers.length)} up`}
        tone={up < servers.length ? 'bad' : undefined}
      >
        {whole(up)}
      </KeyMetric>
    </dl>
  )
}

interface KeyMetricProps {
  readonly name: string
  readonly caption?: string
  readonly tone?: Tone | undefined
  readonly children: preact.ComponentChildren
}

function KeyMetric({ name, caption, tone, children }: KeyMetricProps) {
  return (
    <div class={`card key-metric ${tone ?? ''}`}>
      <dt>{name}</dt>
      <dd>
        <span class="big">{children}</span> {caption && <span class="muted">{caption}</span>}
      </dd>
    </div>
  )
}
