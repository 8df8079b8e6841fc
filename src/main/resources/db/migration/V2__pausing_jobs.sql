-- A running job is paused by its runner before its next step; each resume of a paused one queues it anew, under a number of its own.
alter table tuning_job add column pause_requested boolean default false not null;
alter table tuning_job add column resumes int default 0 not null;
