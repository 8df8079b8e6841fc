-- state: open, erasing (nothing is published until all is removed), erased (nothing is published any more).
alter table delta_tenant add column state varchar(16) default 'open' not null;

-- The last erasure of a tenant's versions: what it takes is written down before anything is removed, so that whoever finishes it gives
-- the same receipt.
create table delta_erasure (
    tenant varchar(64) primary key,
    versions int not null,
    bytes bigint not null,
    -- One a line.
    file_digests text not null,
    begun_at bigint not null,
    -- Null until nothing is left.
    erased_at bigint
);
