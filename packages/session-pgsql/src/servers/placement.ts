/** What a server is placed by: its stable name, never its address. */
export interface Placed {
  readonly name: string
  /** 0: home to no session; what still lies there is asked for last. */
  readonly weight: number
}

/**
 * Where a session lies: rendezvous hashing of its id over the servers' names. Each server gets a score for each
 * id, and the highest is its home. Whoever joins takes only its share, from everybody; whoever leaves leaves its
 * share to everybody. No state, no coordination: every process comes to the same order.
 *
 * @returns the servers, home first
 */
export function rank<S extends Placed>(id: string, servers: readonly S[]): S[] {
  return servers
    .map((server) => ({ server, score: scoreOf(id, server) }))
    .sort((a, b) => b.score - a.score)
    .map(({ server }) => server)
}

/** The weighted form: of two servers, one of twice the weight has twice the chance of the higher score. */
function scoreOf(id: string, { name, weight }: Placed): number {
  if (weight === 0) return 0
  return -weight / Math.log(fraction(`${name}\0${id}`))
}

/** A number between 0 and 1, neither of them, that hangs on every bit of the text. */
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

/** The finalizer of MurmurHash3: every bit of the input changes half of the output's. */
function mixed(value: number): number {
  let bits = value ^ (value >>> 16)
  bits = Math.imul(bits, 0x85ebca6b)
  bits ^= bits >>> 13
  bits = Math.imul(bits, 0xc2b2ae35)
  return bits ^ (bits >>> 16)
}
