import { price, products } from '../../lib/products.js'
import { sessions } from '../../lib/sessions.js'
import { removeFromCart } from '../actions.js'

export default async function Page() {
  const session = await sessions().read()
  const lines = (session.get('cart') ?? []).map(({ id, quantity }) => ({
    ...products.find((product) => product.id === id),
    quantity,
  }))
  const total = lines.reduce((sum, line) => sum + line.quantity * line.price, 0)
  if (lines.length === 0) {
    return (
      <>
        <h1>Cart</h1>
        <p>
          Your cart is empty. <a href="/">Find a book</a>
        </p>
      </>
    )
  }
  return (
    <>
      <h1>Cart</h1>
      <ul className="rows">
        {lines.map((line) => (
          <li key={line.id}>
            <div>
              <strong>{line.title}</strong>
              <p>
                {line.quantity} × {price(line.price)}
              </p>
            </div>
            <form action={removeFromCart.bind(null, line.id)}>
              <button type="submit" className="quiet" aria-label={`Remove ${line.title}`}>
                Remove
              </button>
            </form>
          </li>
        ))}
      </ul>
      <p className="total">Total: {price(total)}</p>
    </>
  )
}
