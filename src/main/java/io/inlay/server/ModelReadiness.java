package io.inlay.server;

import io.inlay.generation.ModelCatalog;
import org.eclipse.microprofile.health.HealthCheck;
import org.eclipse.microprofile.health.HealthCheckResponse;
import org.eclipse.microprofile.health.HealthCheckResponseBuilder;
import org.eclipse.microprofile.health.Readiness;

/** Ready when every model is; says of each whether it is loading, ready or failed, and why. */
@Readiness
public class ModelReadiness implements HealthCheck {

    private final ModelCatalog catalog;

    ModelReadiness(ModelCatalog catalog) {
        this.catalog = catalog;
    }

    @Override
    public HealthCheckResponse call() {
        HealthCheckResponseBuilder response = HealthCheckResponse.named("models");
        boolean ready = true;
        for (String name : catalog.names()) {
            ModelCatalog.Status status = catalog.status(name);
            ready &= status == ModelCatalog.Status.READY;
            response.withData(name, status.name().toLowerCase(java.util.Locale.ROOT) + catalog.failure(name).map(why -> ": " + why).orElse(""));
        }
        return response.status(ready).build();
    }
}
