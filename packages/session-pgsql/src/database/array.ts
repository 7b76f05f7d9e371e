import type { Column } from './database.ts'

/**
 * Encodes a column as an array in PostgreSQL's binary format (`array_recv` in its sources): a header, then each
 * element preceded by its length. node-postgres' text format escapes every quote in every session, and PostgreSQL
 * unescapes them again. Measured: a third of the time of a batch.
 */
export function encodeArray(column: Column): Buffer {
  switch (column.type) {
    case 'text':
      return encodeText(column.values)
    case 'bigint':
      return encodeFixed(20, 8, column.values, (buffer, value, offset) => writeBigint(buffer, value, offset))
    case 'float8':
      return encodeFixed(701, 8, column.values, (buffer, value, offset) =>
        buffer.writeDoubleBE(value, offset),
      )
    case 'boolean':
      return encodeFixed(16, 1, column.values, (buffer, value, offset) =>
        buffer.writeUInt8(value ? 1 : 0, offset),
      )
  }
}

const HEADER = 20
const TEXT = 25

function encodeText(values: readonly (string | null)[]): Buffer {
  let size = HEADER + 4 * values.length
  for (const value of values) if (value !== null) size += Buffer.byteLength(value)

  const buffer = Buffer.allocUnsafe(size)
  let offset = writeHeader(buffer, TEXT, values)
  for (const value of values) {
    if (value === null) {
      offset = buffer.writeInt32BE(-1, offset)
    } else {
      const length = buffer.write(value, offset + 4)
      buffer.writeInt32BE(length, offset)
      offset += 4 + length
    }
  }
  return buffer
}

function encodeFixed<T>(
  type: number,
  width: number,
  values: readonly (T | null)[],
  write: (buffer: Buffer, value: T, offset: number) => void,
): Buffer {
  let size = HEADER + 4 * values.length
  for (const value of values) if (value !== null) size += width

  const buffer = Buffer.allocUnsafe(size)
  let offset = writeHeader(buffer, type, values)
  for (const value of values) {
    offset = buffer.writeInt32BE(value === null ? -1 : width, offset)
    if (value !== null) {
      write(buffer, value, offset)
      offset += width
    }
  }
  return buffer
}

/** Creating a BigInt for each number takes five times as long. */
function writeBigint(buffer: Buffer, value: string | number, offset: number): void {
  if (Number.isSafeInteger(value)) {
    const high = Math.floor((value as number) / 0x1_0000_0000)
    buffer.writeInt32BE(high, offset)
    buffer.writeUInt32BE((value as number) - high * 0x1_0000_0000, offset + 4)
  } else {
    buffer.writeBigInt64BE(BigInt(value), offset)
  }
}

function writeHeader(buffer: Buffer, type: number, values: readonly unknown[]): number {
  buffer.writeInt32BE(1, 0) // dimensions
  buffer.writeInt32BE(values.includes(null) ? 1 : 0, 4)
  buffer.writeInt32BE(type, 8)
  buffer.writeInt32BE(values.length, 12)
  return buffer.writeInt32BE(1, 16) // the first index
}
