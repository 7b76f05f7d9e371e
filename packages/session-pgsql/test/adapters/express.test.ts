import session from 'express-session'
import { PgsqlStore, pgsqlSession } from '../../src/adapters/express.ts'
import { expressPlace } from '../../src/testing.ts'
import { describeGuarantees } from './guarantees.ts'

describeGuarantees({
  name: 'express-session',
  lifetime: 3600,
  offers: ['users', 'store'],
  async start(options, pause) {
    const store = new PgsqlStore(options)
    const place = expressPlace(session, () => ({
      store,
      close: () => store.close(),
      update: async (request, change) => (await pgsqlSession(request).update(change)).value,
      signedIn: (request, user) => pgsqlSession(request).setField(user),
    }))
    const site = await place.start({ pause, timeout: options.operationTimeout ?? 15 })
    return { ...site, handler: store.handler }
  },
})
