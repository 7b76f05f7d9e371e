import type { UserConfig } from 'vite'

/**
 * Builds the page into dist/console/. The console serves it with a Content-Security-Policy without any `unsafe-`, so
 * the build inlines nothing and the page loads nothing from other origins.
 */
export default {
  root: import.meta.dirname,
  // Relative URLs, so that the console also works behind a proxy that serves it under a path.
  base: './',
  logLevel: 'warn',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: '../dist/console',
    emptyOutDir: true,
    target: ['chrome111', 'firefox114', 'safari16.4'],
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    // For development with `npx vite page`: forwards API requests to a running console.
    proxy: { '/api': process.env.CONSOLE ?? 'http://127.0.0.1:8095' },
  },
} satisfies UserConfig
