CREATE TABLE users (
  id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  email    text NOT NULL UNIQUE,
  name     text NOT NULL,
  password text NOT NULL, -- a hash, see lib/users.js
  is_admin boolean NOT NULL DEFAULT false
);
