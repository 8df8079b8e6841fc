package io.inlay.api;

import io.inlay.Problem;
import io.inlay.access.Role;
import io.inlay.generation.DeltaResidency;
import io.inlay.generation.ModelCatalog;
import io.inlay.generation.PinnedDeltas;
import io.inlay.store.DeltaVersion;
import io.smallrye.common.annotation.RunOnVirtualThread;
import jakarta.ws.rs.GET;
import jakarta.ws.rs.POST;
import jakarta.ws.rs.Path;
import jakarta.ws.rs.PathParam;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import org.eclipse.microprofile.openapi.annotations.Operation;

/** The caller's versions in this server's memory. */
@Path("/v1/deltas/{delta}")
@RunOnVirtualThread
public class DeltaResidencyResource {

    private final ModelCatalog catalog;
    private final PinnedDeltas pinned;
    private final Caller caller;

    DeltaResidencyResource(ModelCatalog catalog, PinnedDeltas pinned, Caller caller) {
        this.catalog = catalog;
        this.pinned = pinned;
        this.caller = caller;
    }

    /**
     * How a version lies in this server's memory.
     *
     * @param state {@code absent}, {@code loading} or {@code resident}
     * @param mode {@code tiled} or {@code merged}
     * @param pinned whether it stays there
     * @param bytes that it takes
     */
    public record Residency(String id, String object, String state, String mode, boolean pinned, long bytes) {
    }

    @GET
    @Path("/residency")
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "Whether a version is in this server's memory, and how")
    public Residency get(@PathParam("delta") String name) {
        ModelCatalog.Resolved resolved = catalog.resolve(caller.tenant(), name);
        return residency(resolved.engine().residency(), version(resolved, name));
    }

    @POST
    @Path("/preload")
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "Loads a version into this server's memory; answers once it is there")
    public Residency preload(@PathParam("delta") String name) {
        ModelCatalog.Resolved resolved = catalog.resolve(caller.tenant(), name);
        DeltaVersion version = version(resolved, name);
        CompletableFuture<DeltaResidency.Lease> loading = resolved.engine().residency().acquire(version);
        try (DeltaResidency.Lease _ = loading.join()) {
            return residency(resolved.engine().residency(), version);
        } catch (CompletionException failure) {
            throw failure.getCause() instanceof Problem problem ? problem : failure;
        }
    }

    private static DeltaVersion version(ModelCatalog.Resolved resolved, String name) {
        return resolved.delta().orElseThrow(() -> new Problem(Problem.Code.NOT_FOUND, "'" + name + "' is a base model, which is always in "
                + "memory; name a delta of it, base:task"));
    }

    private Residency residency(DeltaResidency residency, DeltaVersion version) {
        DeltaResidency.Standing standing = residency.standing(version);
        String state = standing.resident() ? "resident" : standing.loading() ? "loading" : "absent";
        return new Residency(version.model(), "delta.residency", state, standing.merged() ? "merged" : "tiled",
                pinned.holds(version), standing.bytes());
    }
}
