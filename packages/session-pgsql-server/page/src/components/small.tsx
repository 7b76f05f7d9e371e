import type { ComponentChildren } from 'preact'
import type { Amount } from '../../../src/console/api.ts'
import { amount, dateTime, relative } from '../format.ts'
import { href } from '../route.ts'
import { now } from '../state.ts'

/** Parts that are too small for a file of their own. */

export function Count({ of }: { of: Amount | undefined }) {
  if (of === undefined) return <None />
  return <span title={of.exact ? undefined : 'An estimate'}>{amount(of)}</span>
}

/** Nothing is known, or there is nothing. */
export function None({ why }: { why?: string }) {
  return (
    <span class="none">
      <span aria-hidden="true">–</span>
      <span class="hidden">{why ?? 'none'}</span>
    </span>
  )
}

/** "5 minutes ago", with the date itself on demand. */
export function Ago({ at }: { at: string | null | undefined }) {
  if (!at) return <None />
  return (
    <time dateTime={at} title={dateTime(at)}>
      {relative(at, now.value)}
    </time>
  )
}

/** The date, and beside it how long ago that is. */
export function When({ at }: { at: string | null | undefined }) {
  if (!at) return <None />
  return (
    <time dateTime={at}>
      <span class="figures">{dateTime(at)}</span> <span class="muted">{relative(at, now.value)}</span>
    </time>
  )
}

export type Tone = 'good' | 'warn' | 'bad' | 'plain'

/** Says a state in a word; the shape of its mark tells it apart without colours too. */
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

/** A part of all, 0 to 1. What it shows is said beside it. */
export function Bar({ part }: { part: number }) {
  return (
    <svg class="bar" width="100%" height="8" aria-hidden="true">
      <rect class="bar-all" width="100%" height="8" rx="4" />
      <rect class="bar-part" width={`${Math.min(100, part * 100).toFixed(1)}%`} height="8" rx="4" />
    </svg>
  )
}

interface ChoiceProps<Value> {
  /** Says what is chosen, to those who do not see it. */
  readonly legend: string
  readonly name: string
  readonly options: readonly { readonly value: Value; readonly label: string }[]
  readonly value: Value
  readonly onChange: (value: Value) => void
}

/** One of a few, side by side. */
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

/** An id, which may be long, as a way to its session. */
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

export function Waiting() {
  return <p class="muted waiting">One moment…</p>
}
