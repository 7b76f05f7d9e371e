import type { ComponentChildren } from 'preact'
import type { Amount } from '../../../src/console/api.ts'
import { amount, dateTime, relative } from '../format.ts'
import { href } from '../route.ts'
import { now } from '../state.ts'

/** Small components that several pages use. */

export function Count({ of }: { of: Amount | undefined }) {
  if (of === undefined) return <None />
  return <span title={of.exact ? undefined : 'Estimate'}>{amount(of)}</span>
}

/** A dash for a missing value; `why` is read by screen readers. */
export function None({ why }: { why?: string }) {
  return (
    <span class="none">
      <span aria-hidden="true">–</span>
      <span class="hidden">{why ?? 'none'}</span>
    </span>
  )
}

/** A relative time such as "5 minutes ago", with the date as its tooltip. */
export function Ago({ at }: { at: string | null | undefined }) {
  if (!at) return <None />
  return (
    <time dateTime={at} title={dateTime(at)}>
      {relative(at, now.value)}
    </time>
  )
}

/** A date followed by the relative time. */
export function When({ at }: { at: string | null | undefined }) {
  if (!at) return <None />
  return (
    <time dateTime={at}>
      <span class="tabular">{dateTime(at)}</span> <span class="muted">{relative(at, now.value)}</span>
    </time>
  )
}

export type Tone = 'good' | 'warn' | 'bad' | 'plain'

/** A state as a word. Each tone has its own shape, so that the state is visible without colours. */
export function Badge({ tone, children }: { tone: Tone; children: ComponentChildren }) {
  return (
    <span class={`badge ${tone}`}>
      <Shape tone={tone} />
      {children}
    </span>
  )
}

export function Shape({ tone }: { tone: Tone }) {
  return (
    <svg class="shape" viewBox="0 0 10 10" width="10" height="10" aria-hidden="true">
      {tone === 'good' && <circle cx="5" cy="5" r="4.5" />}
      {tone === 'warn' && <path d="M5 .5 10 9.5H0z" />}
      {tone === 'bad' && <path d="M.7.7h8.6v8.6H.7z" />}
      {tone === 'plain' && (
        <circle cx="5" cy="5" r="3.5" fill="none" stroke="currentColor" stroke-width="1.6" />
      )}
    </svg>
  )
}

/** A bar for a share from 0 to 1. Hidden from screen readers, because the text beside it says the same. */
export function Bar({ part }: { part: number }) {
  return (
    <svg class="bar" width="100%" height="8" aria-hidden="true">
      <rect class="bar-all" width="100%" height="8" rx="4" />
      <rect class="bar-part" width={`${Math.min(100, part * 100).toFixed(1)}%`} height="8" rx="4" />
    </svg>
  )
}

interface ChoiceProps<Value> {
  /** A label for screen readers. */
  readonly legend: string
  readonly name: string
  readonly options: readonly { readonly value: Value; readonly label: string }[]
  readonly value: Value
  readonly onChange: (value: Value) => void
}

/** Radio buttons as one row. */
export function Choice<Value extends string | number>(props: ChoiceProps<Value>) {
  const { legend, name, options, value: chosen, onChange } = props
  return (
    <fieldset class="choice">
      <legend class="hidden">{legend}</legend>
      {options.map(({ value, label }) => (
        <label key={value}>
          <input type="radio" name={name} checked={value === chosen} onChange={() => onChange(value)} />
          <span>{label}</span>
        </label>
      ))}
    </fieldset>
  )
}

export interface Fact {
  readonly name: string
  readonly value: ComponentChildren
}

export function Facts({ of }: { of: readonly Fact[] }) {
  return (
    <dl class="facts">
      {of.map(({ name, value }) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}

/** A link to the page of a session. */
export function SessionLink({ id }: { id: string }) {
  return (
    <a class="id" href={href('session', { id })} title={id}>
      {id}
    </a>
  )
}

export function Problem({ text }: { text: string }) {
  return (
    <p class="problem" role="alert">
      <Shape tone="bad" />
      {text}
    </p>
  )
}

export function Loading() {
  return <p class="muted">Loading…</p>
}
