package io.inlay.server;

import io.smallrye.config.ConfigMapping;
import io.smallrye.config.WithDefault;
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

    /** The base models. */
    Models models();

    /** Where versions of tuned models are kept: {@code <store>/<tenant>/<base>/<task>/<number>.safetensors}. */
    @WithDefault("model-store/tenants")
    Path store();

    /** The server's own state: database, uploaded files, remembered fingerprints. */
    @WithDefault(".inlay")
    Path data();

    /**
     * Who may ask, by name. Names are letters, digits, '.', '_' and '-'. The default, tenant {@code demo} with key
     * {@code inlay-demo-key}, is for a look around on one's own machine only: the server warns when it is in force.
     */
    Map<String, Tenant> tenants();

    /** Limits on generation. */
    Generation generation();

    /** Limits on uploaded files. */
    Files files();

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

        /** Implementation of the fused operations: {@code auto}, {@code native}, {@code vector} or {@code scalar}. */
        @WithDefault("auto")
        String kernels();
    }

    /** One tenant. */
    interface Tenant {

        /** Its API keys; several while one is being replaced. */
        List<String> keys();
    }

    /** Limits on generation, for each base model. */
    interface Generation {

        /** Requests that take turns; each holds a KV cache of its prompt and answer. */
        @WithDefault("16")
        int concurrent();

        /** Further requests that wait; more are answered with 503. */
        @WithDefault("256")
        int queued();

        /** Bytes of tuned models' blocks to keep in memory beyond use. */
        @WithDefault("1073741824")
        long residentBytes();
    }

    /** Limits on uploaded files. */
    interface Files {

        /** The largest file that is taken, in bytes. */
        @WithDefault("268435456")
        long maxBytes();
    }

    /** Tuning jobs. */
    interface Tuning {

        /** Jobs that run at the same time; the others are queued. */
        @WithDefault("1")
        int workers();
    }
}
