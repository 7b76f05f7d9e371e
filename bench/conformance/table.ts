import type { ConformanceOutcome } from 'session-pgsql/testing'

/** The outcomes of one store. */
export interface Column {
  readonly name: string
  readonly version: string
  readonly outcomes: readonly ConformanceOutcome[]
}

const BEGIN = '<!-- npm run conformance writes from here -->'
const END = '<!-- to here -->'

/** Returns a table with a row for each case and a column for each store. */
export function markdownTable(columns: readonly Column[]): string {
  const head = columns.map(({ name, version }) => `${name} ${version}`)
  const cases = columns[0]?.outcomes ?? []
  const rows = cases.map(({ sentence }, row) => [
    sentence,
    ...columns.map(({ outcomes }) => CELLS[outcomes[row]?.outcome ?? 'untried']),
  ])
  const sums = columns.map(({ outcomes }) => {
    const tried = outcomes.filter(({ outcome }) => outcome === 'holds' || outcome === 'fails')
    return `${tried.filter(({ outcome }) => outcome === 'holds').length} of ${tried.length}`
  })
  return [['', ...head], ['---', ...head.map(() => '---')], ...rows, ['Holds', ...sums]]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n')
}

const CELLS: Record<ConformanceOutcome['outcome'], string> = {
  holds: 'yes',
  fails: '**no**',
  cannot: '–',
  untried: '–',
}

/** Returns the page with the table between its markers. */
export function withTable(page: string, table: string): string {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)]
  if (begin < 0 || end < begin)
    throw new Error(`Cannot insert the table: expected the lines ${BEGIN} and ${END} in the page.`)
  return `${page.slice(0, begin)}${BEGIN}\n\n${table}\n\n${page.slice(end)}`
}
