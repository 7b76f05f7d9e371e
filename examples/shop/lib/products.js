/** The products, with their prices in cents. `hue` is the color of the cover. */
export const products = [
  { id: 'frankenstein', title: 'Frankenstein', author: 'Mary Shelley', price: 1290, hue: 150 },
  { id: 'emma', title: 'Emma', author: 'Jane Austen', price: 990, hue: 345 },
  { id: 'middlemarch', title: 'Middlemarch', author: 'George Eliot', price: 1690, hue: 215 },
  { id: 'jane-eyre', title: 'Jane Eyre', author: 'Charlotte Brontë', price: 1190, hue: 25 },
  { id: 'walden', title: 'Walden', author: 'Henry David Thoreau', price: 1090, hue: 95 },
  { id: 'moby-dick', title: 'Moby-Dick', author: 'Herman Melville', price: 1490, hue: 190 },
]

export const price = (cents) => `$${(cents / 100).toFixed(2)}`
