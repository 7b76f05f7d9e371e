/**
 * libpq's keywords, their environment variables, and what becomes of each here. Kept apart from the parser
 * so that one table answers "is this keyword served?".
 */

export interface Keyword {
  /** The environment variable that libpq reads where the keyword is not given. */
  readonly variable?: string
  /**
   * For keywords that are not served: why another value cannot be taken, for the message. A keyword with
   * neither `refused` nor `served` changes nothing that a session could notice, and is accepted silently.
   */
  readonly refused?: string
  /** For refused ones: the values that ask for nothing special, hence for what happens anyway. */
  readonly harmless?: readonly string[]
  readonly served?: true
}

const gss = 'GSSAPI is not spoken here'

export const KEYWORDS: { readonly [keyword: string]: Keyword } = {
  // Our own.
  name: { served: true },
  weight: { served: true },

  host: { variable: 'PGHOST', served: true },
  hostaddr: { variable: 'PGHOSTADDR', served: true },
  port: { variable: 'PGPORT', served: true },
  dbname: { variable: 'PGDATABASE', served: true },
  user: { variable: 'PGUSER', served: true },
  password: { variable: 'PGPASSWORD', served: true },
  passfile: { variable: 'PGPASSFILE', served: true },
  connect_timeout: { variable: 'PGCONNECT_TIMEOUT', served: true },
  options: { variable: 'PGOPTIONS', served: true },
  application_name: { variable: 'PGAPPNAME', served: true },
  fallback_application_name: { served: true },
  keepalives: { served: true },
  keepalives_idle: { served: true },
  target_session_attrs: { variable: 'PGTARGETSESSIONATTRS', served: true },
  load_balance_hosts: { variable: 'PGLOADBALANCEHOSTS', served: true },
  service: { variable: 'PGSERVICE', served: true },
  servicefile: { variable: 'PGSERVICEFILE', served: true },
  sslmode: { variable: 'PGSSLMODE', served: true },
  sslnegotiation: { variable: 'PGSSLNEGOTIATION', served: true },
  sslrootcert: { variable: 'PGSSLROOTCERT', served: true },
  sslcrl: { variable: 'PGSSLCRL', served: true },
  sslcert: { variable: 'PGSSLCERT', served: true },
  sslkey: { variable: 'PGSSLKEY', served: true },
  sslpassword: { served: true },
  ssl_min_protocol_version: { variable: 'PGSSLMINPROTOCOLVERSION', served: true },
  ssl_max_protocol_version: { variable: 'PGSSLMAXPROTOCOLVERSION', served: true },

  // Tuning of the socket that Node does not offer; time limits of our own stand in for it.
  keepalives_interval: {},
  keepalives_count: {},
  tcp_user_timeout: {},
  // Node speaks UTF-8 to every server, whose own encoding does not matter.
  client_encoding: { variable: 'PGCLIENTENCODING' },
  // TLS compression is never used.
  sslcompression: { variable: 'PGSSLCOMPRESSION' },
  max_protocol_version: { variable: 'PGMAXPROTOCOLVERSION' },
  sslkeylogfile: {},
  // Only used if GSSAPI is, and it never is.
  krbsrvname: { variable: 'PGKRBSRVNAME' },
  gsslib: { variable: 'PGGSSLIB' },

  // What somebody relies on, and would silently not get.
  channel_binding: {
    variable: 'PGCHANNELBINDING',
    harmless: ['', 'prefer', 'disable'],
    refused: 'channel binding cannot be enforced; sslmode=verify-full protects against the same attack',
  },
  require_auth: {
    variable: 'PGREQUIREAUTH',
    harmless: [''],
    refused: 'the method of authentication cannot be enforced; set it in pg_hba.conf',
  },
  requirepeer: {
    variable: 'PGREQUIREPEER',
    harmless: [''],
    refused: "the owner of the server's process cannot be checked",
  },
  requiressl: { variable: 'PGREQUIRESSL', harmless: ['', '0'], refused: 'write sslmode=require' },
  sslcrldir: {
    variable: 'PGSSLCRLDIR',
    harmless: [''],
    refused: 'name one file of revoked certificates with sslcrl',
  },
  sslcertmode: {
    variable: 'PGSSLCERTMODE',
    harmless: ['', 'allow'],
    refused: 'a certificate is sent if there is one and the server asks for it',
  },
  sslsni: { variable: 'PGSSLSNI', harmless: ['', '1'], refused: 'the host name is always sent' },
  gssencmode: { variable: 'PGGSSENCMODE', harmless: ['', 'prefer', 'disable'], refused: gss },
  gssdelegation: { variable: 'PGGSSDELEGATION', harmless: ['', '0'], refused: gss },
  min_protocol_version: {
    variable: 'PGMINPROTOCOLVERSION',
    harmless: ['', '3.0'],
    refused: 'node-postgres speaks version 3.0 of the protocol',
  },
  replication: {
    harmless: ['', '0', 'off', 'no', 'false'],
    refused: 'sessions need an ordinary connection',
  },
  scram_client_key: { refused: 'give the password, or a passfile' },
  scram_server_key: { refused: 'give the password, or a passfile' },
  oauth_issuer: { refused: 'OAuth is not spoken here' },
  oauth_client_id: { refused: 'OAuth is not spoken here' },
  oauth_client_secret: { refused: 'OAuth is not spoken here' },
  oauth_scope: { refused: 'OAuth is not spoken here' },
}
