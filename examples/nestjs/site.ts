import 'reflect-metadata'
import {
  Controller,
  type DynamicModule,
  Get,
  Inject,
  Module,
  Post,
  Query,
  Req,
  Session,
  UseInterceptors,
} from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import type { Request } from 'express'
import type { SessionData } from 'express-session'
import { type PgsqlStoreOptions, pgsqlSession } from 'session-pgsql/express'
import { edited } from 'session-pgsql/testing'
import { done, SaveSession, SessionModule, SessionStore } from './session.module.ts'

/** The data of a session. */
declare module 'express-session' {
  interface SessionData {
    user: string
    [key: string]: unknown
  }
}

type Pause = (wait: string | undefined) => Promise<void>

const PAUSE = Symbol('pause')

@Controller()
class SiteController {
  constructor(
    @Inject(SessionStore) private store: SessionStore,
    @Inject(PAUSE) private pause: Pause,
  ) {}

  @Get('read')
  read(@Session() { cookie, ...data }: SessionData) {
    return data
  }

  @Post('set')
  @UseInterceptors(SaveSession)
  async set(@Session() session: SessionData, @Query() { key, value, wait }: Record<string, string>) {
    await this.pause(wait)
    session[String(key)] = value
    return 'done\n'
  }

  @Post('delete')
  @UseInterceptors(SaveSession)
  async delete(@Session() session: SessionData, @Query() { key, wait }: Record<string, string>) {
    await this.pause(wait)
    delete session[String(key)]
    return 'done\n'
  }

  @Post('edit')
  @UseInterceptors(SaveSession)
  async edit(@Session() session: SessionData, @Query() { key, path, value, wait }: Record<string, string>) {
    await this.pause(wait)
    session[String(key)] = edited(session[String(key)], path, value)
    return 'done\n'
  }

  @Post('count')
  @UseInterceptors(SaveSession)
  async count(@Req() request: Request, @Query() { key, also, wait }: Record<string, string>) {
    await this.pause(wait)
    request.session[String(also)] = '1'
    // Atomic: of overlapping requests, each gets a number of its own.
    const { value } = await pgsqlSession(request).update((data) => {
      const next = Number(data[String(key)] ?? 0) + 1
      data[String(key)] = next
      return next
    })
    return String(value)
  }

  @Post('sign-in')
  @UseInterceptors(SaveSession)
  async signIn(@Req() request: Request, @Query('user') user: string) {
    // A new id at the login: an attacker who knows the old id is not logged in.
    await done((callback) => request.session.regenerate(callback))
    request.session.user = user
    pgsqlSession(request).setField(user)
    return 'done\n'
  }

  /** Lists the devices on which this user is logged in. */
  @Get('devices')
  async devices(@Session() { user }: SessionData) {
    if (user === undefined) return []
    const sessions = await this.store.handler.findByField(user)
    return sessions.map(({ created, addressModified }) => ({ since: created, address: addressModified }))
  }

  @Post('sign-out')
  async signOut(@Req() request: Request) {
    await done((callback) => request.session.destroy(callback))
    return 'done\n'
  }
}

@Module({})
class SiteModule {
  static with(options: PgsqlStoreOptions, pause: Pause): DynamicModule {
    return {
      module: SiteModule,
      imports: [SessionModule.forRoot(options)],
      controllers: [SiteController],
      providers: [{ provide: PAUSE, useValue: pause }],
    }
  }
}

/**
 * A small site with NestJS.
 *
 * @param options the store's options: `{ db }`
 * @param pause called with the parameter `wait`, to let requests overlap. Default: waits for so many milliseconds
 */
export async function createSite(options: PgsqlStoreOptions, pause: Pause = sleep, port = 0) {
  const app = await NestFactory.create(SiteModule.with(options, pause), {
    logger: false,
    forceCloseConnections: true,
  })
  await app.listen(port, '127.0.0.1')
  return {
    url: await app.getUrl(),
    handler: app.get(SessionStore).handler,
    // This closes the store, too.
    stop: () => app.close(),
  }
}

function sleep(milliseconds: string | undefined): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Number(milliseconds ?? 0)))
}
