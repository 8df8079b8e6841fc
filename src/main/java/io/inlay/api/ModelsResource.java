package io.inlay.api;

import io.inlay.Problem;
import io.inlay.access.Role;
import io.inlay.generation.ModelCatalog;
import io.inlay.model.LlamaModel;
import io.inlay.store.DeltaStore;
import io.inlay.store.DeltaVersion;
import io.smallrye.common.annotation.RunOnVirtualThread;
import jakarta.ws.rs.DELETE;
import jakarta.ws.rs.GET;
import jakarta.ws.rs.POST;
import jakarta.ws.rs.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import org.eclipse.microprofile.openapi.annotations.Operation;

/** Base models, and the caller's own tuned ones. */
@Path("/v1")
@RunOnVirtualThread
public class ModelsResource {

    private final ModelCatalog catalog;
    private final DeltaStore store;
    private final Caller caller;

    ModelsResource(ModelCatalog catalog, DeltaStore store, Caller caller) {
        this.catalog = catalog;
        this.store = store;
        this.caller = caller;
    }

    @GET
    @Path("/models")
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "Base models, and the caller's tuned models")
    public Wire.ListOf<Wire.Model> list() {
        List<Wire.Model> models = new ArrayList<>();
        for (String name : catalog.names()) {
            if (catalog.status(name) == ModelCatalog.Status.READY) {
                models.add(base(catalog.base(name)));
            }
        }
        store.list(caller.tenant()).forEach(version -> models.add(tuned(version)));
        return Wire.ListOf.of(models);
    }

    @GET
    @Path("/models/{model}")
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "One model by name: base, base:task, or base:task@version")
    public Wire.Model get(@jakarta.ws.rs.PathParam("model") String model) {
        ModelCatalog.Resolved resolved = catalog.resolve(caller.tenant(), model);
        return resolved.delta().map(ModelsResource::tuned).orElseGet(() -> base(resolved.engine().model()));
    }

    @DELETE
    @Path("/models/{model}")
    @Allowed(Role.OWNER)
    @Changes("model.delete")
    @Operation(summary = "Deletes a version of a tuned model: base:task@version")
    public Wire.Deleted delete(@jakarta.ws.rs.PathParam("model") String model) {
        DeltaVersion version = catalog.resolve(caller.tenant(), model).delta().filter(found -> found.model().equals(model))
                .orElseThrow(() -> new Problem(Problem.Code.INVALID_REQUEST, "'" + model + "' names no version; delete one by its full name, "
                        + "base:task@version"));
        return new Wire.Deleted(model, "model", store.delete(version));
    }

    @POST
    @Path("/inlay/models/{model}/verify")
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "Hashes the base model's weights in memory, now, and compares with what was loaded")
    public Wire.Verification verify(@jakarta.ws.rs.PathParam("model") String model) {
        LlamaModel base = catalog.resolve(caller.tenant(), model).engine().model();
        String digest = base.digest();
        return new Wire.Verification(base.name(), base.fingerprint(), digest, digest.equals(base.fingerprint()));
    }

    private static Wire.Model base(LlamaModel model) {
        String weights = switch (model.form()) {
            case EXACT -> model.dtype().toString();
            case INT8 -> "int8";
        };
        return new Wire.Model(model.name(), "model", 0, "inlay", null, model.parameterCount(), model.servedBytes(), model.fingerprint(), null,
                weights);
    }

    private static Wire.Model tuned(DeltaVersion version) {
        return new Wire.Model(version.model(), "model", created(version), version.tenant(), version.base(), version.manifest().values(),
                version.fileBytes(), version.manifest().baseFingerprint(), version.digest(), null);
    }

    private static long created(DeltaVersion version) {
        return Instant.parse(version.manifest().createdAt()).getEpochSecond();
    }
}
