import type { ServerOverview } from '../../../src/console/api.ts'
import { bytes, percent, whole } from '../format.ts'
import { Ago, Badge, Bar, Count, type Fact, Facts, None, type Tone } from './common.tsx'

const TONES: Readonly<Record<ServerOverview['health'], Tone>> = { up: 'good', down: 'bad', unknown: 'plain' }

/** Below this share, most updates write to the indexes, too. */
const POOR_HOT_SHARE = 0.5

/** A card for each server: its health, role, share of the ids and table statistics. */
export function Servers({ of }: { of: readonly ServerOverview[] }) {
  return (
    <section aria-labelledby="servers">
      <h2 id="servers">Servers</h2>
      <div class="servers">
        {of.map((server) => (
          <Server key={server.name} server={server} />
        ))}
      </div>
    </section>
  )
}

function Server({ server }: { server: ServerOverview }) {
  const { name, address, health, role, since, sinceStart, version, lastError, share } = server
  return (
    <article class={`card server ${health}`} aria-label={`Server ${name}`}>
      <div class="title">
        <h3>{name}</h3>
        <Badge tone={TONES[health]}>{health}</Badge>
      </div>
      <p class="muted">
        {role === 'unknown' ? 'role unknown' : role}
        {version && `, PostgreSQL ${version}`}
        {address && address !== name && `, ${address}`}; {health} since{' '}
        {sinceStart && 'the console started, '}
        <Ago at={since} />
      </p>
      {health === 'down' && lastError && <p class="bad-text text">{lastError}</p>}
      <div class="share">
        <Bar part={share} />
        <span class="muted">home server for {percent(share)} of the ids</span>
      </div>
      {health !== 'down' && <Facts of={facts(server)} />}
      <Standbys of={server.standbys ?? []} />
    </article>
  )
}

function facts(server: ServerOverview): readonly Fact[] {
  const { sessions, tableBytes, indexBytes, deadRows, hotShare, lastVacuum, pendingFailback } = server
  return [
    { name: 'Sessions', value: <Count of={sessions} /> },
    { name: 'Table', value: tableBytes === undefined ? <None /> : bytes(tableBytes) },
    { name: 'Indexes', value: indexBytes === undefined ? <None /> : bytes(indexBytes) },
    { name: 'Dead rows', value: deadRows === undefined ? <None /> : whole(deadRows) },
    {
      name: 'HOT updates',
      value:
        hotShare === undefined || hotShare === null ? (
          <None why="no updates yet" />
        ) : (
          <span class={hotShare < POOR_HOT_SHARE ? 'warn-text' : ''}>{percent(hotShare)}</span>
        ),
    },
    { name: 'Last vacuum', value: lastVacuum ? <Ago at={lastVacuum} /> : <span class="muted">never</span> },
    ...(pendingFailback
      ? [{ name: 'Pending failback', value: <span class="warn-text">{whole(pendingFailback)}</span> }]
      : []),
  ]
}

function Standbys({ of }: { of: NonNullable<ServerOverview['standbys']> }) {
  if (of.length === 0) return null
  return (
    <table class="standbys">
      <thead>
        <tr>
          <th scope="col">Standby</th>
          <th scope="col">State</th>
          <th scope="col" class="number">
            Lag
          </th>
        </tr>
      </thead>
      <tbody>
        {of.map(({ name, state, lagBytes, sync }) => (
          <tr key={name}>
            <th scope="row" class="text">
              {name}
            </th>
            <td>
              {state}
              {sync && ', synchronous'}
            </td>
            <td class="number">{lagBytes === null ? <None why="unknown" /> : bytes(lagBytes)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}
