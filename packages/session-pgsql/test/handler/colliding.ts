/**
 * Two states of one session whose texts have the same `hashtextextended(text, 0)`, found in 0.2 s by varying
 * characters of a field that the visitor controls.
 */
export const ONE = `{"redeemed":0,"note":"--fgcziyngdablmt|&u^!}'i!z"}`
export const OTHER = `{"redeemed":1,"note":"--fgcziyngdablK&bv<YQ)s's)"}`
