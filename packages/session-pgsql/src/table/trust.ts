import { plain, type Query } from '../database/database.ts'
import { isTrue } from './answers.ts'
import { companionName, quoteIdentifier, sqlName, type TableName } from './definition.ts'
import { type Finding, ok, problem, warning } from './finding.ts'
import type { FoundTable, Inspection } from './inspect.ts'
import { eq, isIn, ne } from './sql.ts'

/**
 * Who else has power over sessions: the owner of a table and its triggers and rules, roles that may read or write it, and
 * roles that may create objects where a name without a schema is looked up.
 */

/** Roles that requests from browsers use if the database serves an API, as with PostgREST and Supabase. */
const WEB_ROLES = ['anon', 'authenticated']

/** What is known of a session table or one of its companions. */
interface Trust {
  readonly name: TableName
  readonly owner: string
  /** Whether the owner is this database user, a role of it, or a superuser. */
  readonly trusted: boolean
  readonly rowSecurity: boolean
  readonly triggers: readonly string[]
  readonly rules: readonly string[]
  /** The grantees that stand for everyone: PUBLIC and roles of the web. */
  readonly open: readonly string[]
}

/** Returns SQL of a JSON array with the column `name` of a query's rows. */
function namesOf(from: string): string {
  return `pg_catalog.to_jsonb(ARRAY(SELECT DISTINCT name::pg_catalog.text FROM (${from}) AS named(name) ORDER BY 1))::pg_catalog.text`
}

/** The grantee of an exploded access control list `a`; roles joined as `g`. */
const GRANTEE = `CASE WHEN ${eq('a.grantee', '0')} THEN 'PUBLIC' ELSE g.rolname::pg_catalog.text END`
const GRANTEES = `LEFT JOIN pg_catalog.pg_roles g ON ${eq('g.oid', 'a.grantee')}`

/**
 * Returns the condition: a role could do everything in any case, because it is a superuser, or because this database user
 * is the role or a member of it. Superusers are members of every role by definition, which says nothing.
 */
function isTrusted(role: string): string {
  const isSuperuser = `(SELECT u.rolsuper FROM pg_catalog.pg_roles u WHERE ${eq('u.rolname', 'current_user')})`
  return `(${role}.rolsuper OR ${eq(`${role}.rolname`, 'current_user')}
      OR (pg_catalog.pg_has_role(${role}.oid, 'USAGE') AND NOT ${isSuperuser}))`
}

// $1 the schema, $2 the tables.
const TABLES = plain(`
  SELECT c.relname, o.rolname, ${isTrusted('o')}, c.relrowsecurity,
    ${namesOf(`SELECT t.tgname FROM pg_catalog.pg_trigger t
      WHERE ${eq('t.tgrelid', 'c.oid')} AND NOT t.tgisinternal AND ${ne('t.tgenabled', "'D'")}`)},
    ${namesOf(`SELECT r.rulename FROM pg_catalog.pg_rewrite r
      WHERE ${eq('r.ev_class', 'c.oid')} AND ${ne('r.ev_enabled', "'D'")}`)},
    ${namesOf(`SELECT ${GRANTEE} FROM (
        SELECT x.grantee FROM pg_catalog.aclexplode(c.relacl) x
        UNION ALL SELECT x.grantee FROM pg_catalog.pg_attribute b, pg_catalog.aclexplode(b.attacl) x
          WHERE ${eq('b.attrelid', 'c.oid')}
      ) a ${GRANTEES}
      WHERE ${eq('a.grantee', '0')} OR ${isIn('g.rolname', `'{${WEB_ROLES}}'::pg_catalog.name[]`)}`)}
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON ${eq('n.oid', 'c.relnamespace')}
    JOIN pg_catalog.pg_roles o ON ${eq('o.oid', 'c.relowner')}
  WHERE ${eq('n.nspname', '$1')} AND ${isIn('c.relname', '$2::pg_catalog.text[]')}
  ORDER BY 1`)

// pg_database_owner stands for the owner of the database. $1 the table's schema.
const SCHEMAS = plain(`
  SELECT n.nspname, ${namesOf(`SELECT ${GRANTEE} FROM (
      SELECT x.grantee FROM pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) x
      WHERE ${eq('x.privilege_type', "'CREATE'")}
    ) a ${GRANTEES}
    WHERE ${eq('a.grantee', '0')} OR NOT (${isTrusted('g')} OR ${eq('g.rolname', "'pg_database_owner'")})`)}
  FROM pg_catalog.pg_namespace n
  WHERE ${eq('n.nspname', '$1')} OR ${isIn('n.nspname', 'pg_catalog.current_schemas(false)')}
  ORDER BY 1`)

/** Checks which other roles have power over the session table and its companions. */
export async function aboutTrust(query: Query, { user }: Inspection, found: FoundTable): Promise<Finding[]> {
  const { schema } = found.name
  const companions = (['lock', 'event', 'import'] as const).map((what) => companionName(found.name, what))
  const names = [found.name, ...companions].map(({ table }) => table)
  const tables = (await query(TABLES, [schema, { type: 'text', values: names }])).map(
    ([table, owner, trusted, rowSecurity, ...lists]): Trust => {
      const [triggers = [], rules = [], open = []] = lists.map((list): string[] => JSON.parse(list ?? '[]'))
      const name = { schema, table: table as string }
      return {
        ...{ name, owner: owner as string, trusted: isTrue(trusted), rowSecurity: isTrue(rowSecurity) },
        ...{ triggers, rules, open },
      }
    },
  )
  const schemas = (await query(SCHEMAS, [schema])).map(
    ([name, roles]) => [name as string, JSON.parse(roles ?? '[]') as string[]] as const,
  )
  return [
    aboutOwners(tables, user),
    aboutCode(tables),
    aboutRowSecurity(tables, found),
    aboutGrants(tables),
    aboutCreators(schemas),
  ]
}

function aboutOwners(tables: readonly Trust[], user: string): Finding {
  const foreign = tables.filter(({ trusted }) => !trusted)
  return foreign.length === 0
    ? ok('owner', `The tables belong to ${user}, to a role of this user, or to a superuser.`)
    : warning(
        'owner',
        `${foreign.map(({ name, owner }) => `${sqlName(name)} belongs to the role ${owner}`).join(', ')}. The owner can read and change sessions, and add triggers that run with the privileges of ${user}.`,
        foreign.map(({ name }) => `ALTER TABLE ${sqlName(name)} OWNER TO ${quoteIdentifier(user)};`),
      )
}

function aboutCode(tables: readonly Trust[]): Finding {
  const triggers = tables.flatMap(({ name, triggers }) =>
    triggers.map((trigger) => `TRIGGER ${quoteIdentifier(trigger)} ON ${sqlName(name)}`),
  )
  const rules = tables.flatMap(({ name, rules }) =>
    rules.map((rule) => `RULE ${quoteIdentifier(rule)} ON ${sqlName(name)}`),
  )
  const all = [...triggers, ...rules]
  return all.length === 0
    ? ok('triggers', 'The tables have no triggers and no rules.')
    : warning(
        'triggers',
        `${all.join(', ')}: it runs at every change, with the privileges of the application, and can read, alter or drop the change.`,
        all.map((one) => `DROP ${one};`),
      )
}

function aboutRowSecurity(tables: readonly Trust[], found: FoundTable): Finding {
  const secured = tables.filter(({ rowSecurity }) => rowSecurity).map(({ name }) => sqlName(name))
  const remedy = secured.map((table) => `ALTER TABLE ${table} DISABLE ROW LEVEL SECURITY;`)
  if (found.rowSecurity) {
    return problem(
      'row-security',
      `Row-level security on ${sqlName(found.name)} applies to this database user, for whom hidden sessions would look destroyed.`,
      remedy,
    )
  }
  return secured.length === 0
    ? ok('row-security', 'Row-level security is off.')
    : warning(
        'row-security',
        `Row-level security is on for ${secured.join(', ')}. It hides rows from every user but the owner.`,
        remedy,
      )
}

function aboutGrants(tables: readonly Trust[]): Finding {
  const granted = tables.filter(({ open }) => open.length > 0)
  const list = (roles: readonly string[]): string => roles.map(quoteRole).join(', ')
  return granted.length === 0
    ? ok('grants', 'No privilege on the tables is granted to everyone.')
    : warning(
        'grants',
        `${granted.map(({ name, open }) => `${sqlName(name)} is open to ${list(open)}`).join('; ')}. A role that can read it can take over every session.`,
        granted.map(({ name, open }) => `REVOKE ALL ON ${sqlName(name)} FROM ${list(open)};`),
      )
}

function aboutCreators(schemas: readonly (readonly [schema: string, roles: readonly string[]])[]): Finding {
  const open = schemas.filter(([, roles]) => roles.length > 0)
  return open.length === 0
    ? ok('schema-creators', 'No other role may create objects in the schemas of the search path.')
    : warning(
        'schema-creators',
        `${open.map(([schema, roles]) => `${roles.join(', ')} may create objects in the schema ${schema}`).join('; ')}. Such a role can create the session table before the application does, or functions that other statements of the application call.`,
        open.map(
          ([schema, roles]) =>
            `REVOKE CREATE ON SCHEMA ${quoteIdentifier(schema)} FROM ${roles.map(quoteRole).join(', ')};`,
        ),
      )
}

function quoteRole(role: string): string {
  return role === 'PUBLIC' ? role : quoteIdentifier(role)
}
