import { notFound } from 'next/navigation'
import { query } from '../../lib/database.js'
import { sessions } from '../../lib/sessions.js'
import { Time } from '../time.jsx'

const SIGNED_IN = `
SELECT u.name,
       count(*) AS devices,
       sum(s.cart_items) AS in_carts,
       to_timestamp(max(s.sess_modified)) AS last_seen
FROM users u
JOIN php_session s ON s.user_id = u.id
WHERE s.sess_expire > extract(epoch FROM now())
GROUP BY u.id, u.name
ORDER BY u.name`.trim()

export default async function Page() {
  const session = await sessions().read()
  // From the table of users, not from the session: a right that is taken away is gone at once.
  const [user] = await query('SELECT is_admin FROM users WHERE id = $1', [session.get('user')?.id ?? null])
  if (!user?.is_admin) notFound()
  const rows = await query(SIGNED_IN)
  return (
    <>
      <h1>Who is signed in?</h1>
      <p>One query joins users and sessions:</p>
      <pre>{SIGNED_IN}</pre>
      <div className="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Name</th>
              <th scope="col">Devices</th>
              <th scope="col">In carts</th>
              <th scope="col">Last seen</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.name}>
                <td>{row.name}</td>
                <td>{String(row.devices)}</td>
                <td>{String(row.in_carts)}</td>
                <td>
                  <Time date={row.last_seen} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  )
}
