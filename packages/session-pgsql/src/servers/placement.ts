/** What determines which sessions a server gets: its stable name, never its address. */
export interface Placed {
  readonly name: string
  /** 0: home server of no session; asked last for the sessions that it still has. */
  readonly weight: number
}

/**
 * Ranks the servers for an id by rendezvous hashing: each server gets a score from the id and its name, and the
 * highest score is the home server. A server that is added takes only its share, from all others; one that is
 * removed leaves its share to all others. Needs no state and no coordination: every process gets the same order.
 *
 * @param id in its stored form
 * @returns the servers, the home server first
 */
export function rank<S extends Placed>(id: string, servers: readonly S[]): S[] {
  return servers
    .map((server) => ({ server, score: scoreOf(id, server) }))
    .sort((a, b) => b.score - a.score)
    .map(({ server }) => server)
}

/** The weighted form: a server of twice the weight has twice the chance of the highest score. */
function scoreOf(id: string, { name, weight }: Placed): number {
  if (weight === 0) return 0
  return -weight / Math.log(fraction(`${name}\0${id}`))
}

/** Returns a number between 0 and 1, both exclusive, that depends on every bit of the text. */
function fraction(text: string): number {
  let high = 0x9e3779b9
  let low = 0x85ebca6b
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    high = Math.imul(high ^ code, 0x01000193)
    low = Math.imul(low ^ code, 0x5bd1e995)
    low ^= low >>> 15
  }
  high = mixed(high ^ (low >>> 7))
  low = mixed(low ^ high)
  return ((high >>> 0) * 0x200000 + (low >>> 11) + 0.5) / 2 ** 53
}

/** The finalizer of MurmurHash3: each bit of the input changes half of the bits of the output. */
function mixed(value: number): number {
  let bits = value ^ (value >>> 16)
  bits = Math.imul(bits, 0x85ebca6b)
  bits ^= bits >>> 13
  bits = Math.imul(bits, 0xc2b2ae35)
  return bits ^ (bits >>> 16)
}
