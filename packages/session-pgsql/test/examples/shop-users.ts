import type { Page } from '../../../session-pgsql-server/test/console/browser.ts'

/** The users of examples/shop and their browsers. */

export const LAPTOP = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:142.0) Gecko/20100101 Firefox/142.0'
export const PHONE =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1'

export const ADA = { name: 'Ada', email: 'ada@example.com', password: 'analytical engine' }
export const GRACE = { name: 'Grace', email: 'grace@example.com', password: 'first compiler' }

/** @param shop the shop's URL */
export async function signIn(page: Page, shop: string, { name, email, password }: typeof ADA): Promise<void> {
  await page.goto(`${shop}/sign-in`)
  await page.getByLabel('Email address').fill(email)
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('heading', { name: `Account of ${name}` }).waitFor()
}
