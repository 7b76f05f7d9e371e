import type { Column } from '../session/columns.ts'
import { fromText } from './computed-columns.ts'
import { companionName, quoteIdentifier, sqlName, type TableName } from './definition.ts'

/** The application's table of users, and how sessions refer to it. */
export interface UserTable {
  readonly name: TableName
  /** The column that identifies a user. */
  readonly key: string
  /** The computed column of the session table that contains it. */
  readonly column: Column
}

/**
 * Returns the statements that create a trigger on a table of users: it ends the sessions of a deleted user, in the same
 * transaction. A batch that meets their locked rows leaves them to a later one and waits for nothing else in this
 * transaction, so the two cannot deadlock; with a foreign key they do.
 *
 * SECURITY DEFINER, because a role that may delete users need not see sessions.
 */
export function userTriggerStatements(sessions: TableName, { name, key, column }: UserTable): string[] {
  const routine = sqlName(companionName(sessions, 'user_deleted'))
  const deleted = fromText(column, `OLD.${quoteIdentifier(key)}`)
  return [
    `CREATE OR REPLACE FUNCTION ${routine}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $session_pgsql$
BEGIN
  DELETE FROM ${sqlName(sessions)} WHERE ${quoteIdentifier(column.name)} = ${deleted};
  RETURN NULL;
END
$session_pgsql$`,
    `REVOKE ALL ON FUNCTION ${routine}() FROM PUBLIC`,
    `CREATE TRIGGER session_pgsql_end AFTER DELETE ON ${sqlName(name)} FOR EACH ROW EXECUTE FUNCTION ${routine}()`,
  ]
}
