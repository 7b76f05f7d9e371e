/** A point in time, to the minute. */
export function Time({ date }) {
  const text = date.toISOString()
  return <time dateTime={text}>{text.slice(0, 16).replace('T', ' ')} UTC</time>
}
