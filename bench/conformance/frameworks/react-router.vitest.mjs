import { frameworkConfig } from './vitest.mjs'

export default frameworkConfig({
  include: [
    'packages/react-router/__tests__/server-runtime/sessions-test.ts',
    'packages/react-router-node/__tests__/sessions-test.ts',
  ],
  replace: {
    'packages/react-router/lib/server-runtime/sessions/memoryStorage': 'react-router-storage.mjs',
    'packages/react-router-node/sessions/fileStorage': 'react-router-storage.mjs',
    // The adapter must use the checkout's React Router.
    'react-router': 'react-router-checkout.mjs',
  },
  // Two tests read the files in which sessions are stored. Here there are none.
  edit: (code) => code.replaceAll('it("saves expires to file', 'it.skip("saves expires to file'),
})
