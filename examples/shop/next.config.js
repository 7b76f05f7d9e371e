export default {
  // They stay outside the bundle: PGlite reads files that are in the same folder.
  serverExternalPackages: ['@electric-sql/pglite', 'session-pgsql'],
}
