package io.inlay.server;

import io.smallrye.config.ConfigMapping;
import io.smallrye.config.WithDefault;
import java.net.URI;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Every setting of the server. Each can be given as a system property ({@code -Dinlay.models.folder=...}), an environment variable
 * ({@code INLAY_MODELS_FOLDER=...}) or in {@code config/application.properties} beside where the server is started.
 */
@ConfigMapping(prefix = "inlay")
public interface InlayConfig {

    /**
     * What computes: {@code cpu}, {@code cuda:0} or another {@code cuda:n}; {@code auto} is {@code cuda:0} where everything is there that a
     * GPU needs, and the CPU elsewhere, with the reason in the log.
     */
    @WithDefault("auto")
    String device();

    /** The base models. */
    Models models();

    /** Where versions of tuned models are kept: {@code <store>/<tenant>/<base>/<task>/<number>.safetensors}. */
    @WithDefault("model-store/tenants")
    Path store();

    /** The server's own state: database, uploaded files, checkpoints of jobs, remembered fingerprints. */
    @WithDefault(".inlay")
    Path data();

    /**
     * Who may ask, by name. Names are letters, digits, '.', '_' and '-', 64 at most. Where none is given there is one tenant, {@code demo}
     * with the key {@code inlay-demo-key}, for a look around on one's own machine only: the server warns of it.
     */
    Map<String, Tenant> tenants();

    /** Keys beside those of configured tenants. */
    Access access();

    /** Limits on requests. */
    Limits limits();

    /** The log of changes. */
    Audit audit();
    /** How versions are kept, and for how long. */
    Deltas deltas();

    /** PostgreSQL, in the place of the database in {@code inlay.data}. */
    Database database();

    /** Figures at {@code /q/metrics}. */
    Metrics metrics();

    /** What is logged, and how. */
    Log log();

    /** Limits on generation. */
    Generation generation();

    /** Limits on uploaded files. */
    Files files();

    /** Limits on deltas that are imported. */
    Imports imports();

    /** Tuning jobs. */
    Tuning tuning();

    /** Base models. */
    interface Models {

        /** Folder of model folders in Hugging Face layout; each is served under its folder's name. */
        @WithDefault("model-store/base")
        Path folder();

        /** Names of the models to serve; all of the folder when absent. */
        Optional<List<String>> names();

        /** Type in which weights are held and computed with: {@code bf16} or {@code fp32}. */
        @WithDefault("bf16")
        String dtype();

        /** Longest prompt with its answer, in tokens; 0 for what a model was made for. */
        @WithDefault("0")
        int maxContext();

        /** Implementation of the fused operations: {@code native}, {@code vector} or {@code scalar}; {@code auto} is the fastest here. */
        @WithDefault("auto")
        String kernels();
    }

    /** One tenant. */
    interface Tenant {

        /** Its API keys; several while one is being replaced. */
        List<String> keys();
    }

    /** Keys beside those of configured tenants: made and revoked at {@code /v1/admin}, kept in the database as digests. */
    interface Access {

        /**
         * The secret under which keys are digested, 32 characters at least; the same for every server of one database. Without one it is made
         * once, in {@code <data>/access.secret}.
         */
        Optional<String> secret();

        /** Keys of the operator, 32 characters at least each, with which tenants and their keys are made. */
        Optional<List<String>> adminKeys();
    }

    /** Limits on requests. */
    interface Limits {

        /** Requests a second that a tenant may send to this server in the long run; 0 for no limit. More are answered with 429. */
        @WithDefault("100")
        double requestsPerSecond();

        /** Requests that a tenant may send at once. */
        @WithDefault("1000")
        int burst();

        /** Answers of a tenant that may wait or be under way at the same time; 0 for no limit. More are answered with 429. */
        @WithDefault("0")
        int generations();

        /** Answers that a tenant may begin in a minute; 0 for no limit. */
        @WithDefault("0")
        int generationsPerMinute();

        /** Tokens of prompts and answers that a tenant may use in a minute; 0 for no limit. An answer that has begun is not cut short. */
        @WithDefault("0")
        long tokensPerMinute();

        /** The largest body that is no file, in bytes. */
        @WithDefault("8388608")
        long jsonBytes();

        /** The deepest nesting of a body's JSON. */
        @WithDefault("64")
        int jsonDepth();

        /** The most messages of a conversation, and parts of a message. */
        @WithDefault("4096")
        int listItems();
    }

    /** The log of changes, one line of JSON each. */
    interface Audit {

        /** Its folder; {@code <data>/audit} when absent. */
        Optional<Path> folder();

        /** Size of one of its files, in bytes; further ones are begun beside it. */
        @WithDefault("67108864")
        long maxBytes();
    }

    /** How versions are kept, and for how long. */
    interface Deltas {

        /** Where their files are: {@code folder} for {@code inlay.store}, or {@code s3}. */
        @WithDefault("folder")
        String storage();

        /**
         * Versions that are in memory from the start on, and stay: {@code tenant/base:task}, {@code tenant/base:task@number} or
         * {@code tenant/base:task@alias}. A pin follows its alias, or the task's latest version.
         */
        Optional<List<String>> pinned();

        /**
         * Versions that are pinned and served merged: with copies of the linears that they change, in memory of their own beside
         * {@code inlay.generation.resident-bytes}. For a server of few tenants.
         */
        Optional<List<String>> merged();

        /** Where {@code storage} is {@code s3}. */
        S3 s3();

        /** The most bytes of one tenant's versions; 0 for no bound. */
        @WithDefault("0")
        long quotaBytes();

        /** The most versions of one tenant; 0 for no bound. */
        @WithDefault("0")
        long quotaVersions();

        /** The largest version that is taken by upload, in bytes; {@code quarkus.http.limits.max-body-size} bounds it too. */
        @WithDefault("268435456")
        long maxUploadBytes();

        /** Newest versions of each task that are kept, beside those with an alias and those in use; 0 keeps all. */
        @WithDefault("0")
        int keepLast();

        /** Seconds between two collections of what is no longer wanted; 0 for none. */
        @WithDefault("3600")
        long collectSeconds();

        /** Seconds for which a publication may be under way before it counts as cut short, and a deleted version's file may stay. */
        @WithDefault("3600")
        long graceSeconds();

        /** Seconds for which a version stays in use after a server has used it. */
        @WithDefault("600")
        long leaseSeconds();

        /** Versions' files in S3; credentials are found where Amazon's clients look for them. */
        interface S3 {

            /** Where S3 is, if it is not Amazon's; buckets are then parts of paths. */
            Optional<URI> endpoint();

            /** Amazon's region. */
            @WithDefault("us-east-1")
            String region();

            /** The bucket, which must be there. */
            Optional<String> bucket();

            /** What keys begin with. */
            @WithDefault("inlay/")
            String prefix();

            /** Bytes of files that are kept in {@code <data>/s3-cache}; those used longest ago go first. */
            @WithDefault("10737418240")
            long cacheBytes();
        }
    }

    /** PostgreSQL, in the place of the database in {@code inlay.data}. */
    interface Database {

        /** {@code jdbc:postgresql://host:5432/name}. */
        Optional<String> url();

        /** Who connects. */
        @WithDefault("inlay")
        String username();

        /** His password. */
        Optional<String> password();
    }

    /** Limits on generation, for each base model. */
    interface Generation {

        /** Requests that take turns; each makes a token in each. */
        @WithDefault("16")
        int concurrent();

        /** Further requests that wait; more are answered with 503. */
        @WithDefault("256")
        int queued();

        /**
         * Bytes for keys and values, of requests under way and of prompts that are kept for others that begin the same. When they are used
         * up, the request that began last is put aside until there is room.
         */
        @WithDefault("1073741824")
        long cacheBytes();

        /** Where keys and values lie of requests that are put aside; the system's folder for temporary files by default. */
        @WithDefault("${java.io.tmpdir}")
        Path swapFolder();

        /** Longest answer in tokens; a request for more is refused, and one that names no limit in a chat gets this. */
        @WithDefault("8192")
        int maxTokens();

        /**
         * Seconds that an answer may take at most, from its request to its last token; 0 for any. The header Inlay-Deadline asks for less.
         */
        @WithDefault("600")
        long deadlineSeconds();

        /** Bytes of tuned models' blocks to keep in memory beyond use. */
        @WithDefault("1073741824")
        long residentBytes();
    }

    /** Figures at {@code /q/metrics}. */
    interface Metrics {

        /** Whether figures of answers have a label with the tenant, and names of deltas are shown. */
        @WithDefault("false")
        boolean tenants();
    }

    /** What is logged, and how. */
    interface Log {

        /** Whether lines of the log are JSON. */
        @WithDefault("false")
        boolean json();

        /** Whether there is a line for every request. */
        @WithDefault("true")
        boolean access();
    }

    /** Limits on uploaded files. */
    interface Files {

        /** The largest file that is taken, in bytes. */
        @WithDefault("268435456")
        long maxBytes();
    }

    /** Limits on deltas that are imported. */
    interface Imports {

        /** The largest file or archive that is taken, in bytes; it is in memory while it is checked. */
        @WithDefault("268435456")
        long maxBytes();
    }

    /** Tuning jobs: how many, what they get where they ask for nothing, and the most that they may ask for. */
    interface Tuning {

        /** Jobs that run at the same time; the others are queued. */
        @WithDefault("1")
        int workers();

        /** Share of a model's parameters to train, where a job has no {@code budget}; the default is LLaMA-7B's of the SMT paper. */
        @WithDefault("0.0084")
        double budget();

        /** Passes over the training file, where a job has no {@code n_epochs}. */
        @WithDefault("3")
        int epochs();

        /** Examples a step, where a job has no {@code batch_size}. */
        @WithDefault("16")
        int batchSize();

        /** Highest learning rate, where a job has no {@code learning_rate}; {@code learning_rate_multiplier} multiplies it. */
        @WithDefault("0.0001")
        double learningRate();

        /** Steps that only score blocks, where a job has no {@code warm_up_steps}. */
        @WithDefault("100")
        int warmUpSteps();

        /**
         * Seconds between two checkpoints of a job that has no {@code checkpoint_every}; longer where writing one takes more than a
         * twentieth of it.
         */
        @WithDefault("60")
        long checkpointSeconds();

        /** Training steps that a job may have; one that would have more is refused. */
        @WithDefault("1000000")
        int maxSteps();

        /**
         * Share of the time that a job takes while answers are generated, over 0 and at most 1: it then waits between parts of its batches.
         * By the default generation loses a tenth of its speed at most, and a job on a server that is never idle still ends.
         */
        @WithDefault("0.1")
        double share();

        /** Largest {@code budget} of a job, a share of the model's parameters; methods without a budget are not bound. */
        @WithDefault("0.5")
        double maxBudget();

        /** Whether a job computes layers twice, for the same bits, where keeping what the backward pass needs takes too much memory. */
        @WithDefault("true")
        boolean recomputeWhenShort();
    }
}
