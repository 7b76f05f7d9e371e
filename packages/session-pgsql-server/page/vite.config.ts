import type { UserConfig } from 'vite'

/**
 * The page becomes files in dist/console/, which the console serves under a Content-Security-Policy without
 * any `unsafe-`: so nothing is put inline, and nothing comes from anywhere else.
 */
export default {
  root: import.meta.dirname,
  // Relative, so that the console also works behind a proxy that puts it into a folder.
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
    // `npx vite page` while working on it: the API is that of a console that runs already.
    proxy: { '/api': process.env.CONSOLE ?? 'http://127.0.0.1:8095' },
  },
} satisfies UserConfig
