import node from '@astrojs/node'
import { defineConfig } from 'astro/config'

export default defineConfig({
  output: 'server',
  adapter: node({ mode: 'middleware' }),
  session: { driver: { entrypoint: new URL('./src/session-driver.js', import.meta.url) } },
  vite: {
    ssr: {
      // PGlite reads files that are in the same folder.
      external: ['@electric-sql/pglite', 'session-pgsql'],
      // Only here: other examples of this repository need another version of a package that Astro imports.
      noExternal: ['cookie'],
    },
  },
})
