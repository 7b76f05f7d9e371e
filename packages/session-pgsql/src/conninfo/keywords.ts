/**
 * The keywords of connection strings, their environment variables, and whether each is supported here: libpq's, and
 * those that hosting providers and other clients put into a URL.
 */

export interface Keyword {
  /** The environment variable that libpq reads if the keyword is not set. */
  readonly variable?: string
  /** For unsupported keywords: the reason or alternative, for the error message. */
  readonly unsupported?: string
  /** For unsupported keywords: values that ask for what happens anyway. */
  readonly harmless?: readonly string[]
}

const gss = 'GSSAPI is not supported'

export const KEYWORDS: { readonly [keyword: string]: Keyword } = {
  // Supported. The first three are not keywords of libpq; `schema` is Prisma's.
  name: {},
  weight: {},
  schema: {},
  host: { variable: 'PGHOST' },
  hostaddr: { variable: 'PGHOSTADDR' },
  port: { variable: 'PGPORT' },
  dbname: { variable: 'PGDATABASE' },
  user: { variable: 'PGUSER' },
  password: { variable: 'PGPASSWORD' },
  passfile: { variable: 'PGPASSFILE' },
  connect_timeout: { variable: 'PGCONNECT_TIMEOUT' },
  options: { variable: 'PGOPTIONS' },
  application_name: { variable: 'PGAPPNAME' },
  fallback_application_name: {},
  keepalives: {},
  keepalives_idle: {},
  target_session_attrs: { variable: 'PGTARGETSESSIONATTRS' },
  load_balance_hosts: { variable: 'PGLOADBALANCEHOSTS' },
  service: { variable: 'PGSERVICE' },
  servicefile: { variable: 'PGSERVICEFILE' },
  channel_binding: { variable: 'PGCHANNELBINDING' },
  sslmode: { variable: 'PGSSLMODE' },
  sslnegotiation: { variable: 'PGSSLNEGOTIATION' },
  sslrootcert: { variable: 'PGSSLROOTCERT' },
  sslcrl: { variable: 'PGSSLCRL' },
  sslcert: { variable: 'PGSSLCERT' },
  sslkey: { variable: 'PGSSLKEY' },
  sslpassword: {},
  ssl_min_protocol_version: { variable: 'PGSSLMINPROTOCOLVERSION' },
  ssl_max_protocol_version: { variable: 'PGSSLMAXPROTOCOLVERSION' },

  // Accepted and ignored: they have no effect on sessions.
  // Socket options that Node does not offer; operationTimeout limits requests instead.
  keepalives_interval: {},
  keepalives_count: {},
  tcp_user_timeout: {},
  // Connections always use UTF-8, whatever the encoding of the database.
  client_encoding: { variable: 'PGCLIENTENCODING' },
  // TLS compression is never used.
  sslcompression: { variable: 'PGSSLCOMPRESSION' },
  max_protocol_version: { variable: 'PGMAXPROTOCOLVERSION' },
  sslkeylogfile: {},
  // Only for GSSAPI, which is not supported.
  krbsrvname: { variable: 'PGKRBSRVNAME' },
  gsslib: { variable: 'PGGSSLIB' },

  // Prisma's, about its own pool and its prepared statements. Here `poolSize` limits the connections, and a pooler is
  // recognized by its errors.
  pgbouncer: {},
  connection_limit: {},
  pool_timeout: {},
  socket_timeout: {},
  statement_cache_size: {},
  // Supabase's, for Vercel's client, which requires "-pooler." in the URL.
  supa: {},

  // Unsupported: ignoring these would silently break what a user relies on.
  require_auth: {
    variable: 'PGREQUIREAUTH',
    harmless: [''],
    unsupported: 'node-postgres cannot enforce an authentication method; set it in pg_hba.conf',
  },
  requirepeer: {
    variable: 'PGREQUIREPEER',
    harmless: [''],
    unsupported: "Node cannot check the owner of the server's process",
  },
  requiressl: { variable: 'PGREQUIRESSL', harmless: ['', '0'], unsupported: 'use sslmode=require instead' },
  sslcrldir: {
    variable: 'PGSSLCRLDIR',
    harmless: [''],
    unsupported: 'set sslcrl to one file of revoked certificates instead',
  },
  sslcertmode: {
    variable: 'PGSSLCERTMODE',
    harmless: ['', 'allow'],
    unsupported: 'a client certificate is sent if one exists and the server requests it',
  },
  sslsni: { variable: 'PGSSLSNI', harmless: ['', '1'], unsupported: 'the host name is always sent' },
  gssencmode: { variable: 'PGGSSENCMODE', harmless: ['', 'prefer', 'disable'], unsupported: gss },
  gssdelegation: { variable: 'PGGSSDELEGATION', harmless: ['', '0'], unsupported: gss },
  min_protocol_version: {
    variable: 'PGMINPROTOCOLVERSION',
    harmless: ['', '3.0'],
    unsupported: 'node-postgres uses version 3.0 of the protocol',
  },
  replication: {
    harmless: ['', '0', 'off', 'no', 'false'],
    unsupported: 'sessions need a regular connection',
  },
  // Other clients'.
  uselibpqcompat: {
    harmless: ['', 'true'],
    unsupported:
      "sslmode always has libpq's meaning here. Remove it, and set sslmode=verify-full to verify the certificate",
  },
  ssl: {
    unsupported:
      'set sslmode=require, sslmode=verify-full, or as in node-postgres sslmode=no-verify or sslmode=disable instead',
  },
  sslaccept: {
    harmless: ['', 'accept_invalid_certs'],
    unsupported: 'remove it, and set sslmode=verify-full to verify the certificate',
  },
  sslidentity: { unsupported: 'set sslcert and sslkey instead' },
  currentSchema: { unsupported: 'remove it, and name the schema in the option table' },
  search_path: { unsupported: 'remove it, and name the schema in the option table' },
  scram_client_key: { unsupported: 'set password or passfile instead' },
  scram_server_key: { unsupported: 'set password or passfile instead' },
  oauth_issuer: { unsupported: 'OAuth is not supported' },
  oauth_client_id: { unsupported: 'OAuth is not supported' },
  oauth_client_secret: { unsupported: 'OAuth is not supported' },
  oauth_scope: { unsupported: 'OAuth is not supported' },
}
