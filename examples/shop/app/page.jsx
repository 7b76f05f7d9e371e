import { price, products } from '../lib/products.js'
import { addToCart } from './actions.js'

export default function Page() {
  return (
    <>
      <h1>Books</h1>
      <ul className="products">
        {products.map((product) => (
          <li key={product.id}>
            <div className="cover" style={{ '--hue': product.hue }} aria-hidden="true">
              <strong>{product.title}</strong>
              <span>{product.author}</span>
            </div>
            <h2>{product.title}</h2>
            <p>{product.author}</p>
            <p>{price(product.price)}</p>
            <form action={addToCart.bind(null, product.id)}>
              <button type="submit" aria-label={`Add to cart: ${product.title}`}>
                Add to cart
              </button>
            </form>
          </li>
        ))}
      </ul>
    </>
  )
}
