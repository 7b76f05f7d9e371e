import { readFileSync } from 'node:fs'
import { defineConfig } from 'vitepress'

const { description, homepage } = JSON.parse(
  readFileSync(new URL('../../packages/session-pgsql/package.json', import.meta.url), 'utf8'),
)
const page = (text, name) => ({ text, link: `/docs/${name}` })

export default defineConfig({
  title: 'session-pgsql',
  description,
  srcDir: 'pages',
  outDir: 'dist',
  cleanUrls: true,
  // The README opens the site that it has just started.
  ignoreDeadLinks: 'localhostLinks',
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    socialLinks: [{ icon: 'github', link: homepage }],
    nav: [
      { text: 'Get started', link: '/' },
      { text: 'API', link: '/api/' },
      { text: 'Changelog', link: '/CHANGELOG' },
    ],
    sidebar: [
      {
        text: 'Guides',
        items: [
          { text: 'Get started', link: '/' },
          page('Frameworks', 'frameworks'),
          page('Express', 'express'),
          page('Fastify', 'fastify'),
          page('Koa', 'koa'),
          page('Hono', 'hono'),
          page('h3', 'h3'),
          page('Next.js', 'next'),
          page('Astro', 'astro'),
          page('AdonisJS', 'adonis'),
          page('Request and Response', 'web'),
          page('PHP', 'php'),
          page("PHP's values", 'php-values'),
          page('Recipes', 'recipes'),
          page('Migrating', 'migrating'),
          page('Hosting providers', 'hosting'),
          page('Several servers', 'high-availability'),
          page('Gateway and console', 'server'),
          page('Console', 'console'),
        ],
      },
      {
        text: 'Reference',
        items: [
          page('Options', 'options'),
          page('Table, privileges, journal', 'table'),
          page('Errors and events', 'errors'),
          page('Command', 'command'),
          page('Metrics', 'metrics'),
          { text: 'API', link: '/api/' },
        ],
      },
      {
        text: 'Background',
        items: [
          page('Guarantees', 'guarantees'),
          page('Security', 'security'),
          page('Security review', 'security-review'),
          page('Lifetime', 'lifetime'),
          page('Announcements', 'announcements'),
          page('Encryption', 'encryption'),
          page('Hashed ids', 'ids-at-rest'),
          page('Own columns', 'columns'),
          page('Merging', 'merging'),
          page('Conformance', 'conformance'),
          page('Performance', 'performance'),
          page('Testing', 'testing'),
          { text: 'Contributing', link: '/CONTRIBUTING' },
          { text: 'Architecture', link: '/ARCHITECTURE' },
        ],
      },
    ],
  },
})
