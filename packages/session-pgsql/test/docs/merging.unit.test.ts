import { readFileSync } from 'node:fs'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { merge } from '../../src/codec/merge.ts'

const document = readFileSync(new URL('../../../../docs/merging.md', import.meta.url), 'utf8')

/** The JavaScript value in a cell of a table, in front of whatever explains it. */
function valueIn(cell: string): unknown {
  const code = /`([^`]+)`/.exec(cell)?.[1]
  // Through JSON, as stored: objects of another context are no plain objects here.
  return JSON.parse(JSON.stringify(runInNewContext(`(${code})`)))
}

const tables = document.split('\n\n').filter((block) => block.startsWith('| base | theirs | ours | stored |'))
const rows = tables.flatMap((table) => table.split('\n').slice(2))

test.each(rows)('merges as docs/merging.md says: %s', (row) => {
  const [base, theirs, ours, stored] = row.split('|').slice(1, -1).map(valueIn)
  expect(merge({ value: ours }, { value: theirs }, { value: base })).toEqual({ value: stored })
  expect(rows.length).toBe(10)
})
