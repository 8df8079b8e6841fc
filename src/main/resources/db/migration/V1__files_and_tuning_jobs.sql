-- Plain SQL that H2 and PostgreSQL both take. Times are milliseconds since 1970 but for db-scheduler's own table.

create table training_file (
    id varchar(64) primary key,
    tenant varchar(64) not null,
    name varchar(512) not null,
    purpose varchar(32) not null,
    bytes bigint not null,
    digest varchar(80) not null,
    created_at bigint not null
);
create index training_file_tenant on training_file (tenant, created_at);

create table tuning_job (
    id varchar(64) primary key,
    tenant varchar(64) not null,
    request text not null,
    status varchar(16) not null,
    created_at bigint not null,
    started_at bigint,
    finished_at bigint,
    -- Counts the runs of the job; what a run commits must carry the number that is still here.
    attempt int not null,
    cancel_requested boolean not null,
    tuned_model varchar(256),
    trained_tokens bigint,
    error_code varchar(64),
    error_message text,
    report text
);
create index tuning_job_tenant on tuning_job (tenant, created_at);

create table job_event (
    job varchar(64) not null,
    number int not null,
    created_at bigint not null,
    level varchar(8) not null,
    kind varchar(16) not null,
    message text not null,
    data text,
    primary key (job, number)
);

-- db-scheduler's table (its documentation, "Getting started").
create table scheduled_tasks (
    task_name varchar(100) not null,
    task_instance varchar(100) not null,
    task_data bytea,
    execution_time timestamp with time zone not null,
    picked boolean not null,
    picked_by varchar(50),
    last_success timestamp with time zone,
    last_failure timestamp with time zone,
    consecutive_failures int,
    last_heartbeat timestamp with time zone,
    version bigint not null,
    priority smallint,
    primary key (task_name, task_instance)
);
create index scheduled_tasks_time on scheduled_tasks (execution_time);
create index scheduled_tasks_heartbeat on scheduled_tasks (last_heartbeat);
