package io.inlay.server;

import io.inlay.generation.ModelCatalog;
import org.eclipse.microprofile.health.HealthCheck;
import org.eclipse.microprofile.health.HealthCheckResponse;
import org.eclipse.microprofile.health.HealthCheckResponseBuilder;
import org.eclipse.microprofile.health.Liveness;

/**
 * Alive while the thread of every engine is: a restart would help where one has died. A model that loads, or could not be loaded, is no
 * reason to restart; {@link ModelReadiness} tells of it.
 */
@Liveness
public class EngineLiveness implements HealthCheck {

    private final ModelCatalog catalog;

    EngineLiveness(ModelCatalog catalog) {
        this.catalog = catalog;
    }

    @Override
    public HealthCheckResponse call() {
        HealthCheckResponseBuilder response = HealthCheckResponse.named("engines");
        boolean alive = true;
        for (String name : catalog.names()) {
            boolean runs = catalog.engine(name).isEmpty() || catalog.engine(name).get().isAlive();
            response.withData(name, runs ? "alive" : "its thread has ended; the log says why");
            alive &= runs;
        }
        return response.status(alive).build();
    }
}
