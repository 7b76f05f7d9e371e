import { expect, test } from 'vitest'
import { isSignedIn, MemorySignIns, type RoleState, SignIns } from '../../src/console/sign-ins.ts'

test('keeps at most 50 sign-ins of a role and ends the oldest ones, never those of the other role', async () => {
  const store = new MemorySignIns()
  const signIns = new SignIns(store)
  const operator = await signIns.add('operator')
  const tokens: string[] = []
  for (let n = 0; n < 70; n++) tokens.push((await signIns.add('reader')).token)
  const state = (await store.read('reader')) as RoleState
  expect(Object.keys(state.signedIn ?? {})).toHaveLength(50)
  expect(tokens.filter((token) => isSignedIn(state, token))).toEqual(tokens.slice(20))
  expect(isSignedIn((await store.read('operator')) as RoleState, operator.token)).toBe(true)
  expect(JSON.stringify(state)).not.toContain(tokens.at(-1))
})

test('keeps the secret of a role, removes sign-ins that have ended, and knows no token of another object', async () => {
  const store = new MemorySignIns()
  const signIns = new SignIns(store)
  const { token, secret } = await signIns.add('reader')
  await store.update('reader', ({ signedIn = {} }) => {
    for (const hash of Object.keys(signedIn)) signedIn[hash] = 1
  })
  expect(isSignedIn((await signIns.stateOf('reader')) as RoleState, token)).toBe(false)
  const next = await signIns.add('reader')
  expect(next.secret).toBe(secret)
  const state = (await store.read('reader')) as RoleState
  expect(Object.keys(state.signedIn ?? {})).toHaveLength(1)
  for (const name of ['constructor', '__proto__', '']) expect(isSignedIn(state, name)).toBe(false)
  await signIns.remove('reader', next.token)
  expect((await store.read('reader'))?.signedIn).toEqual({})
})
