import {
  type CallHandler,
  type DynamicModule,
  type ExecutionContext,
  Inject,
  type MiddlewareConsumer,
  Module,
  type NestInterceptor,
  type NestModule,
  type OnApplicationShutdown,
} from '@nestjs/common'
import type { Request } from 'express'
import session from 'express-session'
import { concatMap, type Observable } from 'rxjs'
import { PgsqlStore, type PgsqlStoreOptions } from 'session-pgsql/express'

/** The store as a provider, which closes with the application. */
export class SessionStore extends PgsqlStore implements OnApplicationShutdown {
  onApplicationShutdown(): Promise<void> {
    return this.close()
  }
}

/** The sessions of an application: `imports: [SessionModule.forRoot({ db })]`. */
@Module({})
export class SessionModule implements NestModule {
  constructor(@Inject(SessionStore) private store: SessionStore) {}

  static forRoot(options: PgsqlStoreOptions): DynamicModule {
    return {
      module: SessionModule,
      providers: [{ provide: SessionStore, useFactory: () => new SessionStore(options) }],
      exports: [SessionStore],
    }
  }

  configure(consumer: MiddlewareConsumer): void {
    const middleware = session({
      store: this.store,
      // For an example on your own machine. A real site needs a secret.
      secret: 'example',
      resave: false,
      saveUninitialized: false,
      cookie: { maxAge: 60 * 60 * 1000, sameSite: 'lax' },
    })
    consumer.apply(middleware).forRoutes('{*path}')
  }
}

/**
 * Saves the session before the response. express-session saves it after the response has begun, when an error can no
 * longer change the status.
 */
export class SaveSession implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const request = context.switchToHttp().getRequest<Request>()
    return next.handle().pipe(
      concatMap(async (response) => {
        await done((callback) => request.session.save(callback))
        return response
      }),
    )
  }
}

/** Converts a method of express-session with a callback into a promise. */
export function done(work: (callback: (error?: unknown) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => work((error) => (error ? reject(error) : resolve())))
}
