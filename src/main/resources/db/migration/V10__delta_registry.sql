-- What the store knows of its versions; the files themselves are blobs. Plain SQL that H2 and PostgreSQL both take, times in milliseconds.

-- One row a tenant: what it has stored, counted as it changes, and the lock under which its numbers and quota are given out.
create table delta_tenant (
    tenant varchar(64) primary key,
    versions bigint not null,
    bytes bigint not null
);

-- state: publishing (its file may be there or not), published, deleted (its file may still be there), gone (the number is spent).
create table delta_version (
    tenant varchar(64) not null,
    base varchar(64) not null,
    task varchar(64) not null,
    number int not null,
    state varchar(16) not null,
    digest varchar(80) not null,
    file_digest varchar(80) not null,
    bytes bigint not null,
    value_count bigint not null,
    job varchar(64),
    manifest text,
    note text,
    created_at bigint not null,
    changed_at bigint not null,
    primary key (tenant, base, task, number)
);
create index delta_version_state on delta_version (state, changed_at);
create index delta_version_job on delta_version (tenant, job);

create table delta_tag (
    tenant varchar(64) not null,
    base varchar(64) not null,
    task varchar(64) not null,
    number int not null,
    tag varchar(64) not null,
    primary key (tenant, base, task, number, tag)
);

create table delta_alias (
    tenant varchar(64) not null,
    base varchar(64) not null,
    task varchar(64) not null,
    alias varchar(64) not null,
    -- The version that it names; null once the alias was removed. The row stays, so that revisions go on.
    number int,
    revision int not null,
    changed_at bigint not null,
    primary key (tenant, base, task, alias)
);

create table delta_alias_move (
    tenant varchar(64) not null,
    base varchar(64) not null,
    task varchar(64) not null,
    alias varchar(64) not null,
    revision int not null,
    kind varchar(16) not null,
    from_number int,
    to_number int,
    made_at bigint not null,
    primary key (tenant, base, task, alias, revision)
);

create table delta_lease (
    tenant varchar(64) not null,
    base varchar(64) not null,
    task varchar(64) not null,
    number int not null,
    holder varchar(64) not null,
    expires_at bigint not null,
    primary key (tenant, base, task, number, holder)
);
