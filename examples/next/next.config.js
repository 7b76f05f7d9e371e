export default {
  // They stay outside the bundle: PGlite reads files that lie beside it.
  serverExternalPackages: ['@electric-sql/pglite', 'session-pgsql'],
}
