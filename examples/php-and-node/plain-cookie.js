import { createHmac } from 'node:crypto'

/**
 * Middleware to use before `session()`. PHP's cookie is the plain session id, and express-session's is the id with a
 * signature. This translates between them, so that the browser and PHP never see a signed cookie. The protection is
 * the same as PHP's: 128 random bits.
 *
 * @param {{ name: string, secret: string }} options the same as for `session()`
 * @returns {import('express').RequestHandler}
 */
export function plainCookie({ name, secret }) {
  const sign = (id) =>
    `s:${id}.${createHmac('sha256', secret).update(id).digest('base64').replace(/=+$/, '')}`
  const ours = new RegExp(`(^|;\\s*)${name}=([A-Za-z0-9,-]+)(?=;|$)`)
  const signed = new RegExp(`^${name}=s%3A([^.]+)\\.[^;]*`)

  return (req, res, next) => {
    const { cookie } = req.headers
    if (cookie !== undefined) {
      req.headers.cookie = cookie.replace(
        ours,
        (_, before, id) => `${before}${name}=${encodeURIComponent(sign(id))}`,
      )
    }
    const setHeader = res.setHeader.bind(res)
    res.setHeader = (header, value) =>
      setHeader(
        header,
        header.toLowerCase() === 'set-cookie'
          ? [value].flat().map((line) => line.replace(signed, `${name}=$1`))
          : value,
      )
    next()
  }
}
