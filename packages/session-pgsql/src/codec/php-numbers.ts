/** Numbers in PHP's notation. */

const INT64_MIN = -(2n ** 63n)
const INT64_MAX = 2n ** 63n - 1n
const NINE = 0x39

/** Returns a PHP integer: a number if that is exact, otherwise a bigint; undefined outside 64 bits. */
export function phpInteger(value: bigint): number | bigint | undefined {
  if (value < INT64_MIN || value > INT64_MAX) return undefined
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}

/** Returns the integer that PHP makes of an array key: of '5', but not of '05', '+5' or '-0' (undefined). */
export function integerKey(key: string): number | bigint | undefined {
  // A fast check, because most keys are words.
  if (!(key.charCodeAt(0) <= NINE) || key.length > 20 || !/^(?:0|-?[1-9][0-9]*)$/.test(key)) return undefined
  const number = Number(key)
  if (Number.isSafeInteger(number)) return number
  return phpInteger(BigInt(key))
}

/**
 * Formats a float as PHP does with `serialize_precision = -1` (the default since PHP 7.1): the fewest digits that give
 * the same float again, and an exponent from 18 digits before the point or 4 zeros after it.
 */
export function formatFloat(value: number): string {
  if (Number.isNaN(value)) return 'NAN'
  if (!Number.isFinite(value)) return value > 0 ? 'INF' : '-INF'
  // In this range JavaScript's notation is the same.
  const size = Math.abs(value)
  if (size >= 1e-4 && size < 1e15) return String(value)
  const sign = value < 0 || Object.is(value, -0) ? '-' : ''
  if (value === 0) return `${sign}0`
  const [mantissa = '', power = ''] = size.toExponential().split('e')
  const digits = mantissa.replace('.', '')
  const point = Number(power) + 1
  if (point > 17 || point < -3) {
    const exponent = point - 1
    return `${sign}${digits[0]}.${digits.slice(1) || '0'}E${exponent < 0 ? '-' : '+'}${Math.abs(exponent)}`
  }
  if (point <= 0) return `${sign}0.${'0'.repeat(-point)}${digits}`
  if (point >= digits.length) return sign + digits.padEnd(point, '0')
  return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`
}

/** Returns the float that PHP reads from the text; undefined if it is not a float. */
export function parseFloatText(text: string): number | undefined {
  if (text === 'NAN') return Number.NaN
  if (text === 'INF') return Number.POSITIVE_INFINITY
  if (text === '-INF') return Number.NEGATIVE_INFINITY
  if (!/^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$/.test(text)) return undefined
  return Number(text)
}

/** Returns the integer that PHP reads from the text; undefined if it is not an integer of 64 bits. */
export function parseIntegerText(text: string): number | bigint | undefined {
  if (!/^[+-]?[0-9]{1,40}$/.test(text)) return undefined
  const number = Number(text)
  if (Number.isSafeInteger(number)) return number === 0 ? 0 : number
  return phpInteger(BigInt(text.replace('+', '')))
}
