import { Worker } from 'node:worker_threads'

/** Runs a query in another thread, and blocks this one until it is committed: for code that must not wait. */
export function queryNow(db: string, sql: string): void {
  const done = new Int32Array(new SharedArrayBuffer(4))
  const code = `
    const { workerData } = require('node:worker_threads')
    const { Client } = require('pg')
    const client = new Client(workerData.db)
    client.connect().then(() => client.query(workerData.sql)).then(() => client.end()).then(() => {
      Atomics.store(workerData.done, 0, 1)
      Atomics.notify(workerData.done, 0)
    })`
  new Worker(code, { eval: true, workerData: { db, sql, done } })
  if (Atomics.wait(done, 0, 0, 30_000) === 'timed-out') throw new Error(`No answer: ${sql}`)
}
