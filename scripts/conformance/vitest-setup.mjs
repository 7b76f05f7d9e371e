/** Names of jest and mocha that the hosts' tests use. */
import { afterAll, beforeAll, vi } from 'vitest'

Object.assign(globalThis, { jest: vi, before: beforeAll, after: afterAll })
