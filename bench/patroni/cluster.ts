import { chmod, chown, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { identity, temporaryDirectory } from '../../packages/session-pgsql/test/support/cache.ts'
import { freePort, queryOnce } from '../../packages/session-pgsql/test/support/connect.ts'
import { childrenOf, isRunning, signal } from '../../packages/session-pgsql/test/support/process-tree.ts'
import { until } from '../../packages/session-pgsql/test/support/wait.ts'
import {
  listening,
  type Program,
  startProgram,
} from '../../packages/session-pgsql-server/test/php/kit/program.ts'
import { findProgram } from '../programs.ts'

/** Patroni's settings ttl, loop_wait and retry_timeout, in seconds. */
export interface Times {
  readonly ttl: number
  readonly loopWait: number
  readonly retryTimeout: number
}

interface Node {
  readonly name: string
  readonly port: number
  /** Port of Patroni's REST API, which HAProxy queries. */
  readonly api: number
  readonly config: string
  readonly data: string
  program: Program | undefined
}

export const HOST = '127.0.0.1'

/** Returns the names of the programs that are not installed. */
export function missingPrograms(): string[] {
  return ['etcd', 'patroni', 'patronictl', 'haproxy', 'initdb'].filter(
    (name) => findProgram(name) === undefined,
  )
}

/** etcd, several PostgreSQL servers with Patroni, and HAProxy in front of them, on the loopback interface. */
export class Cluster {
  readonly nodes: Node[] = []
  proxyPort = 0
  readonly #folder: string
  readonly #times: Times
  #etcd: Program | undefined
  #proxy: Program | undefined

  private constructor(folder: string, times: Times) {
    this.#folder = folder
    this.#times = times
  }

  static async start(count: number, times: Times): Promise<Cluster> {
    const folder = await mkdtemp(join(temporaryDirectory(), 'session-pgsql-patroni-'))
    if (identity !== undefined) await chown(folder, identity.uid, identity.gid)
    await chmod(folder, 0o755)
    const cluster = new Cluster(folder, times)
    try {
      await cluster.#start(count)
    } catch (error) {
      await cluster.stop()
      throw error
    }
    return cluster
  }

  async #start(count: number): Promise<void> {
    const client = await freePort()
    const peer = await freePort()
    const [clientUrl, peerUrl] = [client, peer].map((port) => `http://${HOST}:${port}`) as [string, string]
    this.#etcd = await this.#run('etcd', [
      ...['--name', 'etcd', '--data-dir', join(this.#folder, 'etcd')],
      ...['--listen-client-urls', clientUrl, '--advertise-client-urls', clientUrl],
      ...['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl],
      ...['--initial-cluster', `etcd=${peerUrl}`],
    ])
    await listening(client, this.#etcd)
    for (let n = 1; n <= count; n++) {
      const data = join(this.#folder, `data${n}`)
      const config = join(this.#folder, `node${n}.yml`)
      this.nodes.push({
        name: `node${n}`,
        port: await freePort(),
        api: await freePort(),
        config,
        data,
        program: undefined,
      })
    }
    for (const node of this.nodes) await this.#configure(node, client)
    for (const node of this.nodes) {
      await this.startNode(node)
      // The first becomes the leader, and the others copy its data.
      if (node === this.nodes[0]) await until(() => this.leader(), 'a leader', 60_000)
    }
    await this.untilComplete()
    await this.#startProxy()
  }

  async #configure(node: Node, etcd: number): Promise<void> {
    const bin = (findProgram('initdb') as string).replace(/\/initdb$/, '')
    const user = (name: string) => ({ username: name, password: name })
    const config = {
      scope: 'sessions',
      name: node.name,
      restapi: { listen: `${HOST}:${node.api}`, connect_address: `${HOST}:${node.api}` },
      etcd3: { host: `${HOST}:${etcd}` },
      bootstrap: {
        dcs: {
          ttl: this.#times.ttl,
          loop_wait: this.#times.loopWait,
          retry_timeout: this.#times.retryTimeout,
          // Only a standby with every acknowledged change can become the leader.
          synchronous_mode: true,
          maximum_lag_on_failover: 1_048_576,
          postgresql: { use_pg_rewind: true, parameters: { max_connections: 100, wal_log_hints: 'on' } },
        },
        initdb: [{ encoding: 'UTF8' }, { locale: 'C' }, 'data-checksums'],
        pg_hba: [`host replication all ${HOST}/32 trust`, `host all all ${HOST}/32 trust`],
      },
      postgresql: {
        listen: `${HOST}:${node.port}`,
        connect_address: `${HOST}:${node.port}`,
        data_dir: node.data,
        bin_dir: bin,
        pgpass: join(this.#folder, `${node.name}.pgpass`),
        authentication: {
          superuser: user('postgres'),
          replication: user('replicator'),
          rewind: user('rewinder'),
        },
        parameters: { unix_socket_directories: this.#folder },
      },
    }
    // JSON is valid YAML.
    await writeFile(node.config, JSON.stringify(config, null, 2))
  }

  async #startProxy(): Promise<void> {
    this.proxyPort = await freePort()
    const config = join(this.#folder, 'haproxy.cfg')
    await writeFile(
      config,
      `defaults
  mode tcp
  timeout connect 2s
  timeout client 30m
  timeout server 30m
  timeout check 1s
listen primary
  bind ${HOST}:${this.proxyPort}
  option httpchk GET /primary
  http-check expect status 200
  default-server inter 1s fall 2 rise 1 on-marked-down shutdown-sessions
${this.nodes.map(({ name, port, api }) => `  server ${name} ${HOST}:${port} check port ${api}\n`).join('')}`,
    )
    this.#proxy = await this.#run('haproxy', ['-db', '-f', config])
    await listening(this.proxyPort, this.#proxy)
  }

  async startNode(node: Node): Promise<void> {
    node.program = await this.#run('patroni', [node.config])
  }

  /** Kills Patroni, PostgreSQL or both on the leader with SIGKILL. Both is like a power failure of the machine. */
  async kill(target: 'patroni' | 'postgres' | 'both'): Promise<void> {
    const node = await until(() => this.leader(), 'a leader to kill')
    const patroni = (node.program as Program).pid
    // PostgreSQL is not a child of Patroni, and survives it.
    const postmaster = await postmasterOf(node.data)
    const pids = [
      ...(target === 'postgres' ? [] : [patroni, ...childrenOf(patroni)]),
      ...(target === 'patroni' ? [] : [postmaster, ...childrenOf(postmaster)]),
    ]
    for (const pid of pids) signal(pid, 'SIGSTOP')
    for (const pid of pids) signal(pid, 'SIGKILL')
    await until(() => !pids.some(isRunning), 'the leader to end')
  }

  /** Switches to another leader with Patroni's switchover. */
  async switchover(): Promise<void> {
    const leader = (await this.leader()) as Node
    await fetch(`http://${HOST}:${leader.api}/switchover`, {
      method: 'POST',
      body: JSON.stringify({ leader: leader.name }),
    })
  }

  /** Returns the node that is the leader according to Patroni; undefined if there is none. */
  async leader(): Promise<Node | undefined> {
    const results = await Promise.all(
      this.nodes.map(({ api }) =>
        fetch(`http://${HOST}:${api}/primary`).then(
          ({ status }) => status === 200,
          () => false,
        ),
      ),
    )
    return this.nodes[results.indexOf(true)]
  }

  /** Waits until every node replicates and one is the synchronous standby. */
  async untilComplete(): Promise<void> {
    await until(
      async () => {
        const leader = await this.leader()
        if (leader === undefined) return false
        const rows = await queryOnce<{ sync_state: string }>(
          `host=${HOST} port=${leader.port} dbname=postgres user=postgres`,
          "SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'",
        ).catch(() => [])
        return rows.length === this.nodes.length - 1 && rows.some(({ sync_state }) => sync_state === 'sync')
      },
      'the cluster to be complete',
      120_000,
    )
  }

  get log(): string {
    return this.nodes.map(({ name, program }) => `== ${name}\n${program?.output().slice(-4000)}`).join('\n')
  }

  async stop(): Promise<void> {
    for (const program of [this.#proxy, ...this.nodes.map((node) => node.program), this.#etcd]) {
      await program?.stop()
    }
    // PostgreSQL servers whose Patroni was killed and did not return.
    for (const { data } of this.nodes) {
      const postmaster = await postmasterOf(data).catch(() => undefined)
      if (postmaster !== undefined) signal(postmaster, 'SIGQUIT')
    }
    await rm(this.#folder, { recursive: true, force: true })
  }

  async #run(name: string, argv: string[]): Promise<Program> {
    const program = findProgram(name) as string
    await mkdir(this.#folder, { recursive: true })
    const options = { cwd: this.#folder, env: { HOME: this.#folder } }
    if (identity === undefined) return startProgram(program, argv, options)
    // PostgreSQL does not run as root.
    const { uid, gid } = identity
    const as = ['--reuid', String(uid), '--regid', String(gid), '--clear-groups']
    return startProgram('setpriv', [...as, program, ...argv], options)
  }
}

async function postmasterOf(data: string): Promise<number> {
  return Number((await readFile(join(data, 'postmaster.pid'), 'utf8')).split('\n')[0])
}
