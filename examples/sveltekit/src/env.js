import { defineEnvVars } from '@sveltejs/kit/env'

const optional = (value) => value

export const variables = defineEnvVars({
  DATABASE_URL: { schema: optional },
  SESSION_SECRET: { schema: optional },
  // Set by the tests.
  SESSION_OPTIONS: { schema: optional },
  PAUSE_URL: { schema: optional },
})
