-- A tenant's own quota: null is the server's setting, 0 is no bound.
alter table delta_tenant add column quota_bytes bigint;
alter table delta_tenant add column quota_versions bigint;
