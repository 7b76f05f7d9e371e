/** The part of express-session's Cookie that is used here. */
interface Cookie {
  _expires: unknown
  originalMaxAge: unknown
}

/**
 * Makes a cookie of express-session expire when its session ends at the latest. The session's own lifetime,
 * `originalMaxAge`, stays as it is, so that the data does not change with every request.
 *
 * @param endsAt returns the end in milliseconds since 1970, by this machine's clock
 */
export function limitCookie(cookie: object, endsAt: () => number): void {
  const { _expires, originalMaxAge } = cookie as Cookie
  if (_expires === undefined || originalMaxAge === undefined) return
  const limited = (expires: unknown): unknown =>
    expires instanceof Date ? new Date(Math.min(expires.getTime(), endsAt())) : expires
  const prototype: object = Object.getPrototypeOf(cookie)
  Object.defineProperties(cookie, {
    // express-session's setter derives originalMaxAge from its getter.
    expires: {
      configurable: true,
      get(this: Cookie) {
        return limited(this._expires)
      },
      set(this: Cookie, expires: unknown) {
        this._expires = expires
        this.originalMaxAge = expires instanceof Date ? expires.getTime() - Date.now() : expires
      },
    },
    // express-session builds the header Set-Cookie from this.
    data: {
      configurable: true,
      get(this: Cookie) {
        const data = Reflect.get(prototype, 'data', this) as object
        return { ...data, expires: limited(this._expires) }
      },
    },
  })
}
