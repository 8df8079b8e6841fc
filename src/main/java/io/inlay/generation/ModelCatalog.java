package io.inlay.generation;

import io.inlay.Problem;
import io.inlay.model.LlamaModel;
import io.inlay.store.DeltaStore;
import io.inlay.store.DeltaVersion;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeMap;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The base models that a server has, each with its engine, and what model names mean: {@code base}, {@code base:task} (the task's latest
 * version), {@code base:task@number} and {@code base:task@alias}, of the caller's own tenant. Models load on threads of their own; until then they are unavailable.
 */
public final class ModelCatalog implements AutoCloseable {

    private static final Logger LOG = LoggerFactory.getLogger(ModelCatalog.class);
    private static final Pattern NAME = Pattern.compile("([^:@]+)(?::([^:@]+)(?:@(?:([1-9][0-9]{0,8})|([^:@]+)))?)?");

    private final DeltaStore store;
    private final Map<String, Entry> entries = new TreeMap<>();

    /** How a model stands. */
    public enum Status {
        LOADING,
        READY,
        FAILED
    }

    /** A model's place in the catalog; what follows its failure is null until it is ready. */
    private static final class Entry {
        private final Thread loader;
        private volatile Status status = Status.LOADING;
        private volatile String failure;
        private volatile LlamaModel model;
        private volatile GenerationEngine engine;
        private volatile DeltaResidency residency;
        private volatile Passages passages;
        private volatile Grammars grammars;

        private Entry(Thread loader) {
            this.loader = loader;
        }

        private Resolved resolved(Optional<DeltaVersion> delta) {
            return new Resolved(engine, grammars, passages, delta);
        }
    }

    /** A name's meaning: who answers, by which grammars, who reads texts, and the delta that is laid over the base, if any. */
    public record Resolved(GenerationEngine engine, Grammars grammars, Passages passages, Optional<DeltaVersion> delta) {
    }

    /**
     * @param residentBytes of deltas that each model keeps in memory beyond use
     * @param listener hears of steps and loads of all models
     */
    public record Settings(GenerationEngine.Limits limits, long residentBytes, ServingListener listener) {

        /** With nobody who listens. */
        public Settings(GenerationEngine.Limits limits, long residentBytes) {
            this(limits, residentBytes, ServingListener.NONE);
        }
    }

    /** Begins to load the models; returns at once. */
    public ModelCatalog(DeltaStore store, Map<String, Supplier<LlamaModel>> models, Settings settings) {
        this.store = store;
        models.forEach((name, opener) -> {
            Thread loader = Thread.ofPlatform().name("load " + name).daemon().unstarted(() -> load(name, opener, settings));
            entries.put(name, new Entry(loader));
        });
        entries.values().forEach(entry -> entry.loader.start());
    }

    private void load(String name, Supplier<LlamaModel> opener, Settings settings) {
        Entry entry = entries.get(name);
        long start = System.nanoTime();
        try {
            entry.model = opener.get();
            entry.residency = new DeltaResidency(entry.model, store, settings.residentBytes(), settings.listener());
            entry.passages = new Passages(entry.model, entry.residency);
            entry.grammars = new Grammars(entry.model.tokenizer());
            entry.engine = new GenerationEngine(entry.model, entry.residency, settings.limits(), Forward.of(entry.model),
                    settings.listener());
            entry.status = Status.READY;
            LOG.info("model {} is ready after {} ms: {} parameters, {}", name, (System.nanoTime() - start) / 1_000_000,
                    entry.model.parameterCount(), entry.model.fingerprint());
        } catch (RuntimeException | Error failure) {
            entry.failure = failure.getMessage();
            entry.status = Status.FAILED;
            LOG.error("model {} cannot be served: {}", name, failure.getMessage(), failure instanceof Problem ? null : failure);
        }
    }

    /** Whether any model is answering, or has answers waiting. */
    public boolean generating() {
        return entries.values().stream().anyMatch(entry -> entry.engine != null && entry.engine.load() > 0);
    }

    public List<String> names() {
        return new ArrayList<>(entries.keySet());
    }

    public Status status(String name) {
        return entries.get(name).status;
    }

    /** The engine of a model that is ready. */
    public Optional<GenerationEngine> engine(String name) {
        Entry entry = entries.get(name);
        return entry == null || entry.status != Status.READY ? Optional.empty() : Optional.of(entry.engine);
    }

    /** Why a model failed to load. */
    public Optional<String> failure(String name) {
        return Optional.ofNullable(entries.get(name).failure);
    }

    /**
     * A base model by its own name.
     *
     * @throws Problem {@code MODEL_NOT_FOUND}, or {@code UNAVAILABLE} while it loads or when it failed
     */
    public LlamaModel base(String name) {
        return ready(name, name).model;
    }

    private Entry ready(String base, String asked) {
        Entry entry = entries.get(base);
        if (entry == null) {
            throw notFound(asked);
        }
        return switch (entry.status) {
            case READY -> entry;
            case LOADING -> throw new Problem(Problem.Code.UNAVAILABLE, "model " + base + " is still loading; try again in a moment");
            case FAILED -> throw new Problem(Problem.Code.UNAVAILABLE, "model " + base + " could not be loaded: " + entry.failure);
        };
    }

    /**
     * What a name means to a tenant.
     *
     * @throws Problem {@code MODEL_NOT_FOUND}, the same for what is another tenant's as for what is not there
     */
    public Resolved resolve(String tenant, String name) {
        Matcher parts = NAME.matcher(name);
        if (!parts.matches()) {
            throw notFound(name);
        }
        Entry entry = ready(parts.group(1), name);
        if (parts.group(2) == null) {
            return entry.resolved(Optional.empty());
        }
        if (parts.group(4) != null) {
            return entry.resolved(Optional.of(store.findByAlias(tenant, parts.group(1), parts.group(2), parts.group(4))
                    .orElseThrow(() -> notFound(name))));
        }
        OptionalInt number = parts.group(3) == null ? OptionalInt.empty() : OptionalInt.of(Integer.parseInt(parts.group(3)));
        DeltaVersion version = store.find(tenant, parts.group(1), parts.group(2), number).orElseThrow(() -> notFound(name));
        return entry.resolved(Optional.of(version));
    }

    private static Problem notFound(String name) {
        return new Problem(Problem.Code.MODEL_NOT_FOUND, "there is no model '" + name + "'; GET /v1/models lists those that you can use");
    }

    @Override
    public void close() {
        for (Entry entry : entries.values()) {
            try {
                entry.loader.join();
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
                return;
            }
            if (entry.engine != null) {
                entry.engine.close();
                entry.passages.close();
                entry.residency.close();
            }
            if (entry.model != null) {
                entry.model.close();
            }
        }
    }
}
