/** libpq's keywords, their environment variables, and whether each is supported here. */

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
  // Supported. The first two are not keywords of libpq.
  name: {},
  weight: {},
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

  // Unsupported: ignoring these would silently break what a user relies on.
  channel_binding: {
    variable: 'PGCHANNELBINDING',
    harmless: ['', 'prefer', 'disable'],
    unsupported:
      'node-postgres cannot enforce channel binding; sslmode=verify-full protects against the same attack',
  },
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
  scram_client_key: { unsupported: 'set password or passfile instead' },
  scram_server_key: { unsupported: 'set password or passfile instead' },
  oauth_issuer: { unsupported: 'OAuth is not supported' },
  oauth_client_id: { unsupported: 'OAuth is not supported' },
  oauth_client_secret: { unsupported: 'OAuth is not supported' },
  oauth_scope: { unsupported: 'OAuth is not supported' },
}
