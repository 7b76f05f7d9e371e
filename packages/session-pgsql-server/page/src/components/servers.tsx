import type { ServerOverview } from '../../../src/console/api.ts'
import { bytes, percent, whole } from '../format.ts'
import { Ago, Badge, Bar, Count, type Fact, Facts, None, type Tone } from './small.tsx'

const TONES: Readonly<Record<ServerOverview['health'], Tone>> = { up: 'good', down: 'bad', unknown: 'plain' }

/** Below this, most updates write to the indexes too. */
const POOR_HOT_SHARE = 0.5

/** Each server: is it there, what is it, what does it hold. */
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
  const { name, address, health, role, since, version, lastError, share } = server
  return (
    <article class={`card server ${health}`} aria-label={`Server ${name}`}>
      <div class="title">
        <h3>{name}</h3>
        <Badge tone={TONES[health]}>{health}</Badge>
      </div>
      <p class="muted">
        {role === 'unknown' ? 'role not known' : role}
        {version && `, PostgreSQL ${version}`}
        {address && address !== name && `, ${address}`}; {health} since <Ago at={since} />
      </p>
      {health === 'down' && lastError && <p class="bad-text text">{lastError}</p>}
      <div class="share">
        <Bar part={share} />
        <span class="muted">home to {percent(share)} of the ids</span>
      </div>
      {health !== 'down' && <Facts of={facts(server)} />}
      <Standbys of={server.standbys ?? []} />
    </article>
  )
}

function facts(server: ServerOverview): readonly Fact[] {
  const { sessions, tableBytes, indexBytes, deadRows, hotShare, lastVacuum, away } = server
  return [
    { name: 'Sessions', value: <Count of={sessions} /> },
    { name: 'Table', value: tableBytes === undefined ? <None /> : bytes(tableBytes) },
    { name: 'Indexes', value: indexBytes === undefined ? <None /> : bytes(indexBytes) },
    { name: 'Dead rows', value: deadRows === undefined ? <None /> : whole(deadRows) },
    {
      name: 'HOT updates',
      value:
        hotShare === undefined || hotShare === null ? (
          <None why="no update yet" />
        ) : (
          <span class={hotShare < POOR_HOT_SHARE ? 'warn-text' : ''}>{percent(hotShare)}</span>
        ),
    },
    { name: 'Vacuum', value: lastVacuum ? <Ago at={lastVacuum} /> : <span class="muted">never</span> },
    ...(away ? [{ name: 'To bring home', value: <span class="warn-text">{whole(away)}</span> }] : []),
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
            Behind
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
            <td class="number">{lagBytes === null ? <None why="not known" /> : bytes(lagBytes)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}
