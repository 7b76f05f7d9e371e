import { useState } from 'preact/hooks'
import { whole } from '../format.ts'

/** Session data as a collapsible tree. All values are rendered as text, never as HTML. */
export function Tree({ value }: { value: unknown }) {
  return (
    <div class="tree">
      <Value value={value} depth={0} />
    </div>
  )
}

/** The number of levels that are open at first. */
const OPEN_LEVELS = 2
/** The number of entries that are shown at first, and that each click on "more" adds. */
const STEP = 100

function Value({ name, value, depth }: { name?: string; value: unknown; depth: number }) {
  if (value === null || typeof value !== 'object') {
    return (
      <span class="leaf">
        {name !== undefined && <Name name={name} />}
        <Scalar value={value} />
      </span>
    )
  }
  const list = Array.isArray(value)
  const entries = Object.entries(value)
  const size = list ? `[${whole(entries.length)}]` : `{${whole(entries.length)}}`
  if (entries.length === 0) {
    return (
      <span class="leaf">
        {name !== undefined && <Name name={name} />}
        <span class="muted">{list ? '[ ] empty list' : '{ } empty'}</span>
      </span>
    )
  }
  return <Branch name={name} size={size} entries={entries} depth={depth} />
}

interface BranchProps {
  readonly name: string | undefined
  readonly size: string
  readonly entries: readonly (readonly [string, unknown])[]
  readonly depth: number
}

function Branch({ name, size, entries, depth }: BranchProps) {
  const [open, setOpen] = useState(depth < OPEN_LEVELS)
  const [limit, setLimit] = useState(STEP)
  return (
    <details open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        {name !== undefined && <Name name={name} />}
        <span class="muted">{size}</span>
      </summary>
      {open && (
        <ul>
          {entries.slice(0, limit).map(([key, member]) => (
            <li key={key}>
              <Value name={key} value={member} depth={depth + 1} />
            </li>
          ))}
          {entries.length > limit && (
            <li>
              <button type="button" class="link" onClick={() => setLimit(limit + STEP)}>
                Show {whole(entries.length - limit)} more
              </button>
            </li>
          )}
        </ul>
      )}
    </details>
  )
}

function Name({ name }: { name: string }) {
  return (
    <>
      <span class="key">{name}</span>
      {': '}
    </>
  )
}

function Scalar({ value }: { value: unknown }) {
  if (typeof value === 'string') return <span class="string">{JSON.stringify(value)}</span>
  return <span class={value === null ? 'muted' : 'scalar'}>{String(value)}</span>
}
