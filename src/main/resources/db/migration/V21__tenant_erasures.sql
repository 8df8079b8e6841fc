-- Tenants whose jobs and files are erased for good. The row is there before anything is removed, and refuses whatever would be added.
create table tenant_erasure (
    tenant varchar(64) primary key,
    -- Removed so far, counted by the transactions that remove them.
    jobs bigint not null,
    files bigint not null,
    begun_at bigint not null,
    -- Null until nothing is left, versions included.
    erased_at bigint
);
