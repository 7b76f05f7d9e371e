import { useState } from 'preact/hooks'
import { whole } from '../format.ts'

/** Plain values as a tree that opens and closes. Nothing of it is taken as anything but text. */
export function Tree({ value }: { value: unknown }) {
  return (
    <div class="tree">
      <Value value={value} depth={0} />
    </div>
  )
}

/** So many levels are open at first. */
const OPEN = 2
/** So many members are shown at a time. */
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
  const [open, setOpen] = useState(depth < OPEN)
  const [most, setMost] = useState(STEP)
  return (
    <details open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        {name !== undefined && <Name name={name} />}
        <span class="muted">{size}</span>
      </summary>
      {open && (
        <ul>
          {entries.slice(0, most).map(([key, member]) => (
            <li key={key}>
              <Value name={key} value={member} depth={depth + 1} />
            </li>
          ))}
          {entries.length > most && (
            <li>
              <button type="button" class="link" onClick={() => setMost(most + STEP)}>
                {whole(entries.length - most)} more
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
