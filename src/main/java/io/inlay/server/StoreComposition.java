package io.inlay.server;

import io.agroal.api.AgroalDataSource;
import io.inlay.Problem;
import io.inlay.api.UploadLimits;
import io.inlay.store.Blobs;
import io.inlay.store.DeltaCollector;
import io.inlay.store.DeltaRegistry;
import io.inlay.store.DerivedDeltas;
import io.inlay.store.Quota;
import io.inlay.store.S3Blobs;
import io.quarkus.agroal.DataSource;
import io.quarkus.flyway.FlywayDataSource;
import io.quarkus.runtime.StartupEvent;
import jakarta.enterprise.context.ApplicationScoped;
import jakarta.enterprise.event.Observes;
import jakarta.enterprise.inject.Instance;
import jakarta.enterprise.inject.Produces;
import jakarta.inject.Singleton;
import java.time.Duration;
import org.eclipse.microprofile.config.inject.ConfigProperty;
import org.flywaydb.core.Flyway;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import software.amazon.awssdk.core.checksums.RequestChecksumCalculation;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.S3ClientBuilder;

/** Makes the store of its settings: which database knows of versions, where their files are, and what removes them. */
@ApplicationScoped
public class StoreComposition {

    private static final Logger LOG = LoggerFactory.getLogger(StoreComposition.class);

    private final InlayConfig config;

    StoreComposition(InlayConfig config) {
        this.config = config;
    }

    /** The database of all that the server knows, with every table that it needs. */
    @Produces
    @Singleton
    javax.sql.DataSource database(@DataSource("h2") Instance<AgroalDataSource> h2, @FlywayDataSource("h2") Instance<Flyway> h2Tables,
            @DataSource("postgresql") Instance<AgroalDataSource> postgres, @FlywayDataSource("postgresql") Instance<Flyway> postgresTables) {
        if (config.database().url().isEmpty()) {
            h2Tables.get().migrate();
            return h2.get();
        }
        LOG.info("the database is {}", config.database().url().get());
        postgresTables.get().migrate();
        return postgres.get();
    }

    @Produces
    @Singleton
    DeltaRegistry deltas(javax.sql.DataSource database) {
        InlayConfig.Deltas deltas = config.deltas();
        return new DeltaRegistry(blobs(), database, new Quota(deltas.quotaBytes(), deltas.quotaVersions()),
                Duration.ofSeconds(deltas.leaseSeconds()));
    }

    private Blobs blobs() {
        return switch (config.deltas().storage()) {
            case "folder" -> Blobs.folder(config.store());
            case "s3" -> {
                InlayConfig.Deltas.S3 settings = config.deltas().s3();
                String bucket = settings.bucket().orElseThrow(() -> new Problem(Problem.Code.INVALID_REQUEST,
                        "inlay.deltas.storage is s3, and inlay.deltas.s3.bucket is not set; name the bucket"));
                yield new S3Blobs(client(settings), bucket, settings.prefix(), config.data().resolve("s3-cache"), settings.cacheBytes());
            }
            default -> throw new Problem(Problem.Code.INVALID_REQUEST, "inlay.deltas.storage is '" + config.deltas().storage()
                    + "'; it must be folder or s3");
        };
    }

    private static S3Client client(InlayConfig.Deltas.S3 settings) {
        S3ClientBuilder builder = S3Client.builder().region(Region.of(settings.region())).httpClient(UrlConnectionHttpClient.create());
        // Other servers than Amazon's do not know the newer checksums behind a body.
        settings.endpoint().ifPresent(endpoint -> builder.endpointOverride(endpoint).forcePathStyle(true)
                .requestChecksumCalculation(RequestChecksumCalculation.WHEN_REQUIRED));
        return builder.build();
    }

    @Produces
    @Singleton
    DeltaCollector collector(DeltaRegistry deltas) {
        return deltas.collector(Duration.ofSeconds(config.deltas().graceSeconds()));
    }

    @Produces
    @Singleton
    DerivedDeltas derived(DeltaRegistry deltas, @ConfigProperty(name = "quarkus.application.version", defaultValue = "unknown") String version) {
        return new DerivedDeltas(deltas, version);
    }

    @Produces
    @Singleton
    UploadLimits uploads() {
        return new UploadLimits(config.deltas().maxUploadBytes());
    }

    /** Finishes what an earlier process left half erased, then collects now and then, for as long as the server runs. */
    void start(@Observes StartupEvent event, DeltaCollector collector) {
        Thread.ofVirtual().name("finish erasures").start(() -> {
            try {
                collector.finishErasures();
            } catch (RuntimeException failure) {
                LOG.error("what was half erased could not be finished; the next start tries again", failure);
            }
        });
        if (config.deltas().collectSeconds() <= 0) {
            return;
        }
        Thread.ofVirtual().name("collect deltas").start(() -> {
            while (true) {
                try {
                    if (config.deltas().keepLast() > 0) {
                        collector.retainEverywhere(config.deltas().keepLast());
                    }
                    collector.collect();
                    Thread.sleep(Duration.ofSeconds(config.deltas().collectSeconds()));
                } catch (InterruptedException stopped) {
                    return;
                } catch (RuntimeException failure) {
                    LOG.error("a collection of deltas failed; the next one tries again", failure);
                    if (!pause()) {
                        return;
                    }
                }
            }
        });
    }

    private static boolean pause() {
        try {
            Thread.sleep(Duration.ofMinutes(1));
            return true;
        } catch (InterruptedException stopped) {
            return false;
        }
    }
}
