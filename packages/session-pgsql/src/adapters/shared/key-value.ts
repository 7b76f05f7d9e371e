/** What the adapters for key-value storages share: keys are the application's, and values need not expire. */

/** Seconds that a value is stored if it does not expire: about 30 years. */
export const UNLIMITED = 1e9

/** The keys that a storage takes: any text. The limit of 512 characters keeps an index entry within a b-tree page. */
export const ANY_KEY: RegExp = /^[^\0\p{Cs}]{1,512}$/u
