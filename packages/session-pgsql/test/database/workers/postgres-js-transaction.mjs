import postgres from 'postgres'

/** Ends its own backend within a transaction of postgres.js. */
const sql = postgres(process.argv[2], { max: 1 })
await sql
  .begin((transaction) => transaction.unsafe('SELECT pg_terminate_backend(pg_backend_pid())'))
  .catch(() => {})
