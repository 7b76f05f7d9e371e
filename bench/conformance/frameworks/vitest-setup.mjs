/** The globals of jest and mocha that the frameworks' tests use. */
import { afterAll, beforeAll, vi } from 'vitest'

Object.assign(globalThis, { jest: vi, before: beforeAll, after: afterAll })
