import { defineConfig } from 'vite'

// Everything is relative, so that the page works under any path prefix.
export default defineConfig({
  base: './',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: { outDir: '../httpapi/web', emptyOutDir: true, assetsInlineLimit: 0, modulePreload: false },
})
