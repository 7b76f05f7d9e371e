import type { SaveHandler, SaveHandlerOptions } from '../../src/index.ts'
import type { Data, Kit } from '../handler/kit.ts'

let tables = 0

/** Returns the name of a table that no other test uses, and a function that opens handlers of it. */
export function newTable(kit: Kit) {
  const table = `ids_${process.pid}_${++tables}`
  return {
    table,
    open: (ids: SaveHandlerOptions['ids'], options: SaveHandlerOptions<Data> = {}): SaveHandler<Data> =>
      kit.open({ table, ids, ...options }),
  }
}
