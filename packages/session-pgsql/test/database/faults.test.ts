import { expect, test } from 'vitest'
import { statementFault } from '../../src/database/faults.ts'

const errorOfPostgres = (code: string, severity = 'FATAL') =>
  Object.assign(new Error('terminating connection'), { code, severity })

test.each(['25P03', '25P04', '57P01', '57P05', '08006'])(
  'SQLSTATE %s is a lost connection, so that the outcome of what was sent is unknown',
  (sqlState) => {
    expect(statementFault(errorOfPostgres(sqlState), true)).toMatchObject({
      code: 'SERVER_DOWN',
      sqlState,
      outcomeUnknown: true,
    })
    expect(statementFault(errorOfPostgres(sqlState), false)).toMatchObject({ outcomeUnknown: false })
  },
)

test('other SQLSTATEs of a transaction are rejections', () => {
  expect(statementFault(errorOfPostgres('25006', 'ERROR'), true)).toMatchObject({ code: 'DATABASE' })
})
