/**
 * The schema `hostile`: everything that a role with CREATE on a schema of the search path can put in the place of
 * PostgreSQL's own objects. It is generated from the catalog, so that no function or operator is missing.
 *
 * - Functions and operators with the arguments of each of PostgreSQL's. They are found first if the schema is named
 *   before pg_catalog.
 * - The same names for other combinations of common types. PostgreSQL searches pg_catalog first if the path does not
 *   name it; an exact match in another schema then still beats one that needs a cast.
 * - Types, and relations, with the names of PostgreSQL's.
 *
 * Each function raises an exception, and counts the call in a sequence, which the exception does not roll back.
 */
export const CREATE_HOSTILE_SCHEMA = `
DO $do$
DECLARE
  one record;
  body text := 'BEGIN PERFORM pg_catalog.nextval(%L); RAISE EXCEPTION %L; END';
  mixed text[] := ARRAY['text', 'character varying', 'bigint', 'integer', 'double precision', 'numeric', 'boolean',
    'jsonb', 'timestamp with time zone'];
BEGIN
  SET LOCAL check_function_bodies = off;
  SET LOCAL client_min_messages = error;
  CREATE SCHEMA hostile;
  CREATE SEQUENCE hostile.calls;
  GRANT USAGE ON SCHEMA hostile TO PUBLIC;
  GRANT ALL ON SEQUENCE hostile.calls TO PUBLIC;

  FOR one IN
    SELECT p.proname AS name, proretset AS several, CASE WHEN r.typtype = 'p' AND r.typcategory <> 'P' OR
        r.typname ~ '^any(compatible)?(array|element|nonarray|enum|range|multirange)?$' AND r.typname <> 'any'
        OR r.typtype <> 'p' THEN format_type(r.oid, NULL) ELSE 'integer' END AS result,
      ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS a(t, n) ORDER BY n) AS types
    FROM pg_proc p JOIN pg_type r ON r.oid = p.prorettype
    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND NOT p.proargtypes::oid[] && ARRAY[2281, 2275, 2276]::oid[]
    UNION
    SELECT p.proname, false, 'integer', ARRAY[t]
    FROM pg_proc p, unnest(mixed) AS t
    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.pronargs = 1
      AND format_type(p.proargtypes[0], NULL) = ANY (mixed)
    UNION
    SELECT p.proname, false, 'integer', ARRAY[t, u]
    FROM pg_proc p, unnest(mixed[1:6]) AS t, unnest(mixed[1:6]) AS u
    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.pronargs = 2
      AND NOT EXISTS (SELECT FROM pg_operator o WHERE o.oprcode = p.oid)
      AND format_type(p.proargtypes[0], NULL) = ANY (mixed) AND format_type(p.proargtypes[1], NULL) = ANY (mixed)
  LOOP
    BEGIN
      EXECUTE format('CREATE FUNCTION hostile.%I(%s) RETURNS %s%s LANGUAGE plpgsql AS %L', one.name,
        array_to_string(one.types, ', '), CASE WHEN one.several THEN 'SETOF ' END, one.result,
        format(body, 'hostile.calls', format('hostile function %s(%s)', one.name, array_to_string(one.types, ', '))));
    EXCEPTION WHEN duplicate_function OR feature_not_supported OR invalid_function_definition THEN NULL;
    END;
  END LOOP;

  FOR one IN
    SELECT row_number() OVER () AS n, * FROM (
      SELECT oprname AS name, CASE WHEN oprleft <> 0 THEN format_type(oprleft, NULL) END AS "left",
        format_type(oprright, NULL) AS "right"
      FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprname <> '=>'
      UNION
      SELECT o.oprname, t, u FROM pg_operator o, unnest(mixed) AS t, unnest(mixed) AS u
      WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprleft <> 0
        AND format_type(o.oprleft, NULL) = ANY (mixed) AND format_type(o.oprright, NULL) = ANY (mixed || '{text[]}'::text[])
      UNION
      SELECT o.oprname, NULL, t FROM pg_operator o, unnest(mixed) AS t
      WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprleft = 0 AND format_type(o.oprright, NULL) = ANY (mixed)
    ) AS operators
  LOOP
    BEGIN
      EXECUTE format('CREATE FUNCTION hostile.%I(%s) RETURNS boolean LANGUAGE plpgsql AS %L', 'operator ' || one.n,
        concat_ws(', ', one.left, one.right),
        format(body, 'hostile.calls', format('hostile operator %s %s %s', one.left, one.name, one.right)));
      EXECUTE format('CREATE OPERATOR hostile.%s (FUNCTION = hostile.%I%s, RIGHTARG = %s)', one.name,
        'operator ' || one.n, ', LEFTARG = ' || one.left, one.right);
    EXCEPTION WHEN duplicate_function OR feature_not_supported OR invalid_function_definition THEN NULL;
    END;
  END LOOP;

  FOR one IN
    SELECT relname AS name FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v')
  LOOP
    EXECUTE format('CREATE VIEW hostile.%I AS SELECT 1 AS hostile', one.name);
    EXECUTE format('GRANT ALL ON hostile.%I TO PUBLIC', one.name);
  END LOOP;
  FOR one IN
    SELECT typname AS name FROM pg_type
    WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r') AND typelem = 0
  LOOP
    EXECUTE format('CREATE TYPE hostile.%I AS (hostile integer)', one.name);
  END LOOP;
END $do$`

/** Returns the number of calls of hostile functions so far. */
export const COUNT_HOSTILE_CALLS = 'SELECT last_value - 1 + is_called::int AS calls FROM hostile.calls'
