-- Who may ask. Plain SQL that H2 and PostgreSQL both take; times are milliseconds since 1970.

create table access_tenant (
    name varchar(64) primary key,
    -- The name in lower case: two tenants never differ in case alone, whatever a file system makes of it.
    folded varchar(64) not null unique,
    status varchar(24) not null,
    created_at bigint not null,
    changed_at bigint not null,
    revision bigint not null
);
create index access_tenant_revision on access_tenant (revision);

create table access_key (
    id varchar(64) primary key,
    -- Null for an operator's key.
    tenant varchar(64),
    role varchar(16) not null,
    label varchar(128) not null,
    -- HMAC-SHA-256 of the key under the server's secret, in hex. The key itself is nowhere.
    digest varchar(64) not null unique,
    created_at bigint not null,
    expires_at bigint,
    revoked_at bigint,
    last_used_at bigint,
    revision bigint not null
);
create index access_key_tenant on access_key (tenant, created_at);
create index access_key_revision on access_key (revision);

-- One row. Each change of tenants or keys counts the revision up first, which locks the row until it commits: revisions become visible
-- in their order, and a server that asks for all behind the last one it has seen misses none.
create table access_state (
    id int primary key,
    revision bigint not null,
    -- A digest of a fixed text under the server's secret: servers with different secrets on one database are told so.
    secret_check varchar(64)
);
insert into access_state (id, revision) values (1, 0);
