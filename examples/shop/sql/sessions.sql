CREATE TABLE "public"."php_session" (
  sess_id            text COLLATE "C" PRIMARY KEY,
  sess_name          text,
  sess_data          text,
  sess_created       bigint,
  sess_modified      bigint,
  sess_expire        bigint,
  sess_addr_created  text,
  sess_addr_modified text,
  sess_counter       bigint,
  sess_error         bigint,
  sess_warning       bigint,
  sess_notice        bigint,
  sess_err_message   text,
  sess_custom        text,
  sess_sweep         bigint DEFAULT 0,
  sess_generation    bigint,
  sess_version       bigint,
  sess_began         bigint,
  sess_home          text,
  sess_base          text,
  sess_destroyed     bigint,
  "user_id"          bigint,
  "cart_items"       integer,
  sess_filled        text
) WITH (
  fillfactor = 80,
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_analyze_scale_factor = 0.05,
  autovacuum_vacuum_cost_delay = 1,
  toast.autovacuum_vacuum_scale_factor = 0.02,
  toast.autovacuum_vacuum_cost_delay = 1
);

CREATE INDEX ON "public"."php_session" ("user_id");

CREATE INDEX ON "public"."php_session" (sess_id) WHERE (sess_filled IS NULL OR (sess_filled <> 'cart_items,user_id')) AND sess_destroyed IS NULL;

CREATE INDEX ON "public"."php_session" (sess_sweep);

CREATE INDEX ON "public"."php_session" USING hash (sess_custom);

CREATE INDEX ON "public"."php_session" (sess_home, sess_id) WHERE sess_home IS NOT NULL;

CREATE TABLE IF NOT EXISTS "public"."php_session_event" (
  event_id     text COLLATE "C" PRIMARY KEY,
  event_at     double precision NOT NULL,
  event_kind   text NOT NULL,
  event_about  text NOT NULL
);

CREATE OR REPLACE FUNCTION "public"."php_session_user_deleted"() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $session_pgsql$
BEGIN
  DELETE FROM "public"."php_session" WHERE "user_id" = CAST(OLD."id" AS bigint);
  RETURN NULL;
END
$session_pgsql$;

REVOKE ALL ON FUNCTION "public"."php_session_user_deleted"() FROM PUBLIC;

CREATE TRIGGER session_pgsql_end AFTER DELETE ON "public"."users" FOR EACH ROW EXECUTE FUNCTION "public"."php_session_user_deleted"();

