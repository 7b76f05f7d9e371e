#!/usr/bin/env node
import { existsSync } from 'node:fs'
import process from 'node:process'

// npm links a workspace's command only if its file exists at `npm ci`, when nothing is built yet: hence this file.
const main = new URL('../dist/esm/main.js', import.meta.url)
if (existsSync(main)) {
  await import(main.href)
} else {
  console.error('session-pgsql-server is not built. Run "npm run build" first.')
  process.exitCode = 1
}
