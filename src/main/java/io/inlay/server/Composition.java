package io.inlay.server;

import io.inlay.Problem;
import io.inlay.access.AuditLog;
import io.inlay.access.ConfiguredKeys;
import io.inlay.access.KeyRing;
import io.inlay.access.Keys;
import io.inlay.access.RateLimits;
import io.inlay.access.ServerSecret;
import io.inlay.access.Tenant;
import io.inlay.access.Tenants;
import io.inlay.api.AnswerLimits;
import io.inlay.api.BodyLimits;
import io.inlay.api.ImportLimits;
import io.inlay.generation.GenerationEngine;
import io.inlay.generation.ModelCatalog;
import io.inlay.generation.ServingListener;
import io.inlay.generation.ServingPlan;
import io.inlay.jobs.JobCheckpoints;
import io.inlay.jobs.TenantErasures;
import io.inlay.jobs.TrainingFiles;
import io.inlay.jobs.TuningDefaults;
import io.inlay.jobs.TuningJobs;
import io.inlay.kernels.DeviceKernels;
import io.inlay.kernels.Kernels;
import io.inlay.model.LlamaConfig;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.store.DeltaCollector;
import io.inlay.store.DeltaStore;
import io.inlay.store.DurableFiles;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.DeviceChoice;
import io.inlay.tensor.Devices;
import io.inlay.tensor.Libtorch;
import io.inlay.tuning.YieldingPace;
import io.quarkus.runtime.ShutdownEvent;
import io.quarkus.runtime.StartupEvent;
import jakarta.enterprise.context.ApplicationScoped;
import jakarta.enterprise.event.Observes;
import jakarta.enterprise.inject.Produces;
import jakarta.inject.Singleton;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.sql.DataSource;
import org.eclipse.microprofile.config.inject.ConfigProperty;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Makes the server's parts of its settings and puts them together. */
@ApplicationScoped
public class Composition {

    private static final Logger LOG = LoggerFactory.getLogger(Composition.class);
    private static final String DEMO_TENANT = "demo";
    private static final String DEMO_KEY = "inlay-demo-key";

    private final InlayConfig config;

    Composition(InlayConfig config) {
        this.config = config;
    }

    @Produces
    @Singleton
    KeyRing keyRing(DataSource source) {
        ServerSecret secret = ServerSecret.of(config.access().secret(), config.data());
        Map<String, List<String>> tenants = config.tenants().entrySet().stream().collect(Collectors.toMap(Map.Entry::getKey,
                tenant -> tenant.getValue().keys()));
        List<String> admin = config.access().adminKeys().orElse(List.of());
        KeyRing ring = new KeyRing(source, secret, new ConfiguredKeys(admin, tenants), Clock.systemUTC());
        if (!tenants.isEmpty() || !admin.isEmpty() || !ring.isEmpty()) {
            return ring;
        }
        ring.close();
        LOG.warn("no tenant is configured: tenant {} with the key {} is in force, for development on your own machine only; set "
                + "inlay.tenants.<name>.keys or inlay.access.admin-keys", DEMO_TENANT, DEMO_KEY);
        return new KeyRing(source, secret, new ConfiguredKeys(List.of(), Map.of(DEMO_TENANT, List.of(DEMO_KEY))), Clock.systemUTC());
    }

    @Produces
    @Singleton
    Tenants tenants(KeyRing ring) {
        return new Tenants(ring);
    }

    @Produces
    @Singleton
    Keys keys(KeyRing ring) {
        return new Keys(ring);
    }

    @Produces
    @Singleton
    AuditLog audit() {
        return new AuditLog(config.audit().folder().orElse(config.data().resolve("audit")), config.audit().maxBytes());
    }

    @Produces
    @Singleton
    RateLimits rateLimits() {
        return new RateLimits(config.limits().requestsPerSecond(), config.limits().burst(), System::nanoTime);
    }

    @Produces
    @Singleton
    BodyLimits bodyLimits() {
        return new BodyLimits(config.limits().jsonBytes(), config.files().maxBytes());
    }

    @Produces
    @Singleton
    ModelCatalog catalog(DeltaStore store, ServingListener listener) {
        Supplier<Engine> engine = new Once<>(() -> {
            Libtorch torch = EarlyLibtorch.get();
            DeviceChoice choice = DeviceChoice.of(config.device(), device -> DeviceKernels.missing(torch, device));
            choice.withoutCuda().ifPresent(reason -> LOG.info("no GPU is used: {}", reason));
            String named = config.models().kernels();
            Kernels kernels = DeviceKernels.of(torch, choice.device(), named.equals("auto") ? null : named);
            LOG.info("computing on {} with {}, kernels {}", torch.devices().describe(choice.device()), torch.description(), kernels.name());
            return new Engine(torch, kernels, options(choice.device()));
        });
        Map<String, Supplier<LlamaModel>> models = new TreeMap<>();
        List<Path> folders = modelFolders();
        Set<String> int8 = int8(folders.stream().map(folder -> folder.getFileName().toString()).toList());
        for (Path folder : folders) {
            String name = folder.getFileName().toString();
            ModelOptions.Form form = int8.contains(name) ? ModelOptions.Form.INT8 : ModelOptions.Form.EXACT;
            models.put(name, () -> engine.get().open(folder, form, config.generation().cacheBytes(), config.generation().residentBytes()));
        }
        return new ModelCatalog(store, models, new ModelCatalog.Settings(
                new GenerationEngine.Limits(config.generation().concurrent(), config.generation().queued(), config.generation().cacheBytes(),
                        config.generation().swapFolder()),
                config.generation().residentBytes(), listener));
    }

    /** What computes, and how models are held by it. */
    private record Engine(Libtorch torch, Kernels kernels, ModelOptions options) {

        /** Opens a model, once its device has promised what serving it takes. */
        LlamaModel open(Path folder, ModelOptions.Form form, long cacheBytes, long residentBytes) {
            ModelOptions served = options.with(form);
            ServingPlan plan = ServingPlan.of(folder.getFileName().toString(), LlamaConfig.parse(folder), served, cacheBytes,
                    residentBytes);
            plan.doubt(torch.devices(), served).ifPresent(LOG::warn);
            Optional<Devices.Promise> promise = plan.promise(torch.devices(), served);
            try {
                return LlamaModel.open(torch, kernels, folder, served);
            } catch (RuntimeException failure) {
                promise.ifPresent(Devices.Promise::close);
                throw failure;
            }
        }
    }

    /** A value made once, by whoever asks first. */
    private static final class Once<T> implements Supplier<T> {
        private final Supplier<T> maker;
        private T value;

        private Once(Supplier<T> maker) {
            this.maker = maker;
        }

        @Override
        public synchronized T get() {
            if (value == null) {
                value = maker.get();
            }
            return value;
        }
    }

    private ModelOptions options(Device device) {
        DType dtype = switch (config.models().dtype().toLowerCase(Locale.ROOT)) {
            case "bf16" -> DType.BF16;
            case "fp32" -> DType.FP32;
            default -> throw new Problem(Problem.Code.INVALID_REQUEST, "inlay.models.dtype is '" + config.models().dtype()
                    + "'; it must be bf16 or fp32");
        };
        return new ModelOptions(dtype, config.models().maxContext(), config.data().resolve("fingerprints.json"), device);
    }

    private Set<String> int8(List<String> served) {
        Set<String> names = new TreeSet<>(config.models().int8().orElse(List.of()));
        names.stream().filter(name -> !served.contains(name)).findFirst().ifPresent(unknown -> {
            throw new Problem(Problem.Code.INVALID_REQUEST, "inlay.models.int8 names '" + unknown
                    + "', which is no model of this server; it has " + String.join(", ", served));
        });
        return names;
    }

    private List<Path> modelFolders() {
        Path folder = config.models().folder();
        if (config.models().names().isPresent()) {
            return config.models().names().get().stream().map(folder::resolve).toList();
        }
        if (!Files.isDirectory(folder)) {
            throw new Problem(Problem.Code.MODEL_NOT_FOUND, "inlay.models.folder is " + folder.toAbsolutePath()
                    + ", which is no folder; put model folders in Hugging Face layout there, or point it at one that has them");
        }
        try (Stream<Path> entries = Files.list(folder)) {
            List<Path> found = entries.filter(entry -> Files.isRegularFile(entry.resolve("config.json"))).sorted().toList();
            if (found.isEmpty()) {
                throw new Problem(Problem.Code.MODEL_NOT_FOUND, folder.toAbsolutePath() + " has no model folder (one with a config.json)");
            }
            return found;
        } catch (IOException failure) {
            throw new Problem(Problem.Code.STORAGE_FAILED, folder + " cannot be listed: " + failure.getMessage(), failure);
        }
    }

    @Produces
    @Singleton
    TrainingFiles files(DataSource source) {
        return new TrainingFiles(source, config.data().resolve("files"), config.files().maxBytes(), DurableFiles.local());
    }

    @Produces
    @Singleton
    TuningJobs jobs(DataSource source, TrainingFiles files, DeltaStore deltas, ModelCatalog catalog,
            @ConfigProperty(name = "quarkus.application.version", defaultValue = "unknown") String version) {
        double share = config.tuning().share();
        if (!(share > 0 && share <= 1)) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "inlay.tuning.share is " + share
                    + "; it must be over 0, or jobs would never end "
                    + "while answers are generated, and at most 1");
        }
        return new TuningJobs(source, files, deltas, catalog::base, config.tuning().workers(), defaults(),
                new JobCheckpoints(config.data().resolve("checkpoints"), Duration.ofSeconds(config.tuning().checkpointSeconds())), version,
                () -> new YieldingPace(catalog::generating, share));
    }

    @Produces
    @Singleton
    TenantErasures erasures(DataSource source, TuningJobs jobs, TrainingFiles files, DeltaCollector deltas) {
        return new TenantErasures(source, jobs, files, deltas);
    }

    private TuningDefaults defaults() {
        InlayConfig.Tuning tuning = config.tuning();
        return new TuningDefaults(tuning.budget(), tuning.epochs(), tuning.batchSize(), tuning.learningRate(), tuning.warmUpSteps(),
                tuning.maxSteps(), tuning.maxBudget(), tuning.recomputeWhenShort());
    }

    @Produces
    @Singleton
    AnswerLimits answerLimits() {
        return new AnswerLimits(config.generation().maxTokens(), config.limits().listItems());
    }

    @Produces
    @Singleton
    ImportLimits importLimits() {
        return new ImportLimits(config.imports().maxBytes(), config.data().resolve("imports"));
    }

    void start(@Observes StartupEvent event, ModelCatalog catalog, KeyRing keys, AuditLog audit, TuningJobs jobs, Tenants tenants,
            TenantErasures erasures) {
        LOG.info("serving {} of {}, tuned models in {}", catalog.names(), config.models().folder().toAbsolutePath().normalize(),
                config.store().toAbsolutePath().normalize());
        tenants.list().stream().filter(tenant -> tenant.status() == Tenant.Status.DELETION_REQUESTED)
                .forEach(tenant -> erasures.begin(tenant.name()));
        // A job that an earlier process left needs its model; it is taken up once loading has ended, well or not.
        Thread.ofVirtual().name("start tuning jobs").start(() -> {
            while (catalog.names().stream().anyMatch(name -> catalog.status(name) == ModelCatalog.Status.LOADING)) {
                try {
                    Thread.sleep(20);
                } catch (InterruptedException stopped) {
                    return;
                }
            }
            jobs.start();
        });
    }

    void stop(@Observes ShutdownEvent event, ModelCatalog catalog, TuningJobs jobs, TenantErasures erasures, KeyRing keys, AuditLog audit) {
        erasures.close();
        jobs.close();
        catalog.close();
        keys.close();
        audit.close();
    }
}
