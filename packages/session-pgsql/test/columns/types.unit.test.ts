import { expectTypeOf, test } from 'vitest'
import { type ColumnDefinitions, SaveHandler } from '../../src/index.ts'

interface Data {
  user?: { id: number; name: string }
}

/** Checked by the compiler; nothing connects. */
test('columns have the types of their definitions, in records and in filters', () => {
  const handler = new SaveHandler({
    db: 'host=x',
    columns: {
      user_id: { type: 'bigint', value: (data: Data) => data.user?.id, index: true },
      name: { type: 'text', value: (data: Data) => data.user?.name },
      seen: { type: 'timestamptz', value: () => new Date() },
    },
  })
  type Read = NonNullable<Awaited<ReturnType<typeof handler.read>>>
  expectTypeOf<Read['data']>().toEqualTypeOf<Data>()
  expectTypeOf<Read['columns']['user_id']>().toEqualTypeOf<number | bigint | null>()
  expectTypeOf<Read['columns']['name']>().toEqualTypeOf<string | null>()
  expectTypeOf<Read['columns']['seen']>().toEqualTypeOf<Date | null>()
  type Written = NonNullable<Awaited<ReturnType<typeof handler.write>>['session']>
  expectTypeOf<Written['columns']>().toEqualTypeOf<Read['columns']>()
  type Listed = NonNullable<Awaited<ReturnType<typeof handler.list>>[number]['columns']>
  expectTypeOf<Listed['name']>().toEqualTypeOf<string | null>()

  type Where = Parameters<typeof handler.destroyWhere>[0]
  expectTypeOf<{ user_id: 7 }>().toExtend<Where>()
  expectTypeOf<{ user_id: bigint; name: null }>().toExtend<Where>()
  expectTypeOf<{ user_id: boolean }>().not.toExtend<Where>()
  expectTypeOf<keyof Where>().toEqualTypeOf<'user_id' | 'name' | 'seen'>()
})

test('a function that returns another type does not compile', () => {
  new SaveHandler({
    db: 'host=x',
    columns: {
      // @ts-expect-error a boolean is no bigint
      user_id: { type: 'bigint', value: (_data: Data) => true },
    },
  })
})

test('with explicit data, functions know its type; and such a handler is one of any columns', () => {
  const columns = { user_id: { type: 'bigint', value: (data: Data) => data.user?.id } } as const
  const typed = new SaveHandler<Data, typeof columns>({ db: 'host=x', columns })
  const plain = new SaveHandler<Data>({
    db: 'host=x',
    columns: { user_id: { type: 'bigint', value: (data) => data.user?.id } },
  })
  expectTypeOf(typed).toExtend<SaveHandler<Data>>()
  // biome-ignore lint/suspicious/noExplicitAny: as adapters accept it
  expectTypeOf(typed).toExtend<SaveHandler<any>>()
  type Read = NonNullable<Awaited<ReturnType<typeof plain.read>>>
  expectTypeOf<Read['columns']['user_id']>().toBeUnknown()
  expectTypeOf<typeof columns>().toExtend<ColumnDefinitions<Data>>()
})
