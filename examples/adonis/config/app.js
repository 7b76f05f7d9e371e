import { defineConfig } from '@adonisjs/core/http'

// For an example on your own machine. A real site needs a secret.
export const appKey = 'an example has no secrets, only this key'

export const http = defineConfig({})
