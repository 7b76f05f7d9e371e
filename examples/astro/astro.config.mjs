import node from '@astrojs/node'
import { defineConfig } from 'astro/config'

export default defineConfig({
  output: 'server',
  adapter: node({ mode: 'middleware' }),
  session: { driver: { entrypoint: new URL('./src/session-driver.js', import.meta.url) } },
  // They stay outside the bundle: PGlite reads files that lie beside it.
  vite: { ssr: { external: ['@electric-sql/pglite', 'session-pgsql'] } },
})
