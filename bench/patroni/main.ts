import { parseArgs } from 'node:util'
import { SaveHandler } from 'session-pgsql'
import { Traffic } from '../../packages/session-pgsql/test/clusters/traffic.ts'
import { sleep, until } from '../../packages/session-pgsql/test/support/wait.ts'
import { Cluster, HOST, missingPrograms, type Times } from './cluster.ts'

/** Measures the failover of Patroni from the side of an application: downtime, errors and lost changes. */

const HELP = `Usage:
  npm run bench:patroni -- [OPTION]...

Options:
  --nodes N    PostgreSQL servers with Patroni (default: 3)
  --callers N  concurrent writers (default: 64)
  --rounds N   rounds of each fault (default: 2)
  --ttl S      Patroni's ttl (default: 30)
  --loop S     Patroni's loop_wait (default: 10)
  --retry S    Patroni's retry_timeout (default: 10)
  --help       show this help, then exit`

type Data = Record<string, number>
type Fault = (cluster: Cluster) => Promise<void>

const FAULTS: Record<string, Fault> = {
  'kill -9 of Patroni and PostgreSQL': (cluster) => cluster.kill('both'),
  'kill -9 of PostgreSQL alone': (cluster) => cluster.kill('postgres'),
  'kill -9 of Patroni alone': (cluster) => cluster.kill('patroni'),
  switchover: (cluster) => cluster.switchover(),
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      nodes: { type: 'string', default: '3' },
      callers: { type: 'string', default: '64' },
      rounds: { type: 'string', default: '2' },
      ttl: { type: 'string', default: '30' },
      loop: { type: 'string', default: '10' },
      retry: { type: 'string', default: '10' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return console.log(HELP)
  const missing = missingPrograms()
  if (missing.length > 0) throw new Error(`Not installed: ${missing.join(', ')}`)
  const times: Times = {
    ttl: Number(values.ttl),
    loopWait: Number(values.loop),
    retryTimeout: Number(values.retry),
  }
  const cluster = await Cluster.start(Number(values.nodes), times)
  process.once('SIGINT', () => void cluster.stop().then(() => process.exit(130)))
  try {
    const hosts = cluster.nodes.map(() => HOST).join(',')
    const ports = cluster.nodes.map(({ port }) => port).join(',')
    const connections = {
      direct: `host=${hosts} port=${ports}`,
      HAProxy: `host=${HOST} port=${cluster.proxyPort}`,
    }
    console.log(
      '| fault | connection | downtime | longest call | acknowledged | errors | lost |\n|---|---|---|---|---|---|---|',
    )
    for (const [name, fault] of Object.entries(FAULTS)) {
      for (const [label, connection] of Object.entries(connections)) {
        for (let round = 0; round < Number(values.rounds); round++) {
          const result = await measure(cluster, times, connection, fault, Number(values.callers), round + 1)
          console.log(`| ${name} | ${label} | ${result} |`)
        }
      }
    }
  } catch (error) {
    console.error(cluster.log)
    throw error
  } finally {
    await cluster.stop()
  }
}

async function measure(
  cluster: Cluster,
  times: Times,
  connection: string,
  fault: Fault,
  callers: number,
  seed: number,
): Promise<string> {
  const handler = new SaveHandler<Data>({
    db: `${connection} dbname=postgres user=postgres target_session_attrs=read-write`,
    gcInterval: 0,
  })
  try {
    await handler.open()
    const traffic = new Traffic([handler], callers, seed * 1000 + (Date.now() % 1000))
    await sleep(3000)
    traffic.longestPause = 0
    await fault(cluster)
    // Until the leader's key has expired, and another node has taken it.
    await sleep((times.ttl + times.loopWait + 5) * 1000)
    const recovered = traffic.acknowledged
    await until(() => traffic.acknowledged > recovered + 100, 'the service to recover', 120_000)
    // The killed nodes return during the traffic. They must not be taken for the leader.
    for (const node of cluster.nodes) if (!node.program?.running()) await cluster.startNode(node)
    await cluster.untilComplete()
    await traffic.stop()
    await traffic.check(handler)
    const codes = new Map<string, number>()
    for (const { code } of traffic.errors) codes.set(code, (codes.get(code) ?? 0) + 1)
    return [
      `${(traffic.longestPause / 1000).toFixed(1)} s`,
      `${(traffic.slowest / 1000).toFixed(1)} s`,
      traffic.acknowledged,
      [...codes].map(([code, count]) => `${count} ${code}`).join(', ') || 'none',
      traffic.broken.length === 0 ? 'nothing' : traffic.broken.join('; '),
    ].join(' | ')
  } finally {
    await handler.close()
  }
}

await main()
