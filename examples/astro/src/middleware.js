export { onRequest } from 'session-pgsql/astro'
