-- What each part of Lossloop may do. Nobody but the owner and a keeper changes or deletes a fact.

-- name: reader
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};

-- name: server
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};
GRANT INSERT ON {schema}.frames TO {role};
GRANT INSERT, UPDATE ON {schema}.segments TO {role};

-- name: applier
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};
GRANT INSERT ON {schema}.frames TO {role};
GRANT INSERT, UPDATE ON {schema}.segments TO {role};
GRANT UPDATE ON {schema}.partitions TO {role};
GRANT INSERT, UPDATE, DELETE ON {schema}.appliers TO {role};
GRANT INSERT, UPDATE, DELETE ON {schema}.offsets, {schema}.documents, {schema}.chunks TO {role};

-- name: keeper
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};
GRANT INSERT, UPDATE, DELETE ON {schema}.frames TO {role};
GRANT INSERT, UPDATE ON {schema}.segments TO {role};
GRANT UPDATE (commits) ON {schema}.partitions TO {role};
