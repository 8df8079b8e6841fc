package io.inlay.api;

import io.inlay.Problem;
import io.inlay.access.Role;
import io.inlay.delta.DeltaComposition;
import io.inlay.generation.ModelCatalog;
import io.inlay.model.LlamaModel;
import io.inlay.store.DeltaCollector;
import io.inlay.store.DeltaRegistry;
import io.inlay.store.DeltaVersion;
import io.inlay.store.DerivedDeltas;
import io.inlay.store.Usage;
import io.smallrye.common.annotation.RunOnVirtualThread;
import jakarta.ws.rs.GET;
import jakarta.ws.rs.POST;
import jakarta.ws.rs.Path;
import org.eclipse.microprofile.openapi.annotations.Operation;

/** Versions made of others, and all that a tenant has. */
@Path("/v1/deltas")
@RunOnVirtualThread
public class DeltaWorkResource {

    private final DeltaRegistry deltas;
    private final DeltaCollector collector;
    private final DerivedDeltas derived;
    private final ModelCatalog catalog;
    private final DeltaViews views;
    private final Caller caller;

    DeltaWorkResource(DeltaRegistry deltas, DeltaCollector collector, DerivedDeltas derived, ModelCatalog catalog, DeltaViews views,
            Caller caller) {
        this.deltas = deltas;
        this.collector = collector;
        this.derived = derived;
        this.catalog = catalog;
        this.views = views;
        this.caller = caller;
    }

    @POST
    @Path("/compose")
    @Allowed(Role.OWNER)
    @Changes("delta.compose")
    @Operation(summary = "Publishes the blocks of two versions of one base as a new one; says which both had with other values")
    public DeltaWire.Derived compose(DeltaWire.Composition body) {
        require(body, body == null ? null : body.first(), body == null ? null : body.second(), "'first', 'second' and 'policy'");
        DeltaComposition.Policy policy = switch (String.valueOf(body.policy())) {
            case "first" -> DeltaComposition.Policy.FIRST;
            case "second" -> DeltaComposition.Policy.SECOND;
            case "fail", "null" -> DeltaComposition.Policy.FAIL;
            default -> throw new Problem(Problem.Code.INVALID_REQUEST, "policy is '" + body.policy() + "'; it must be first, second or fail");
        };
        DeltaVersion first = deltas.resolve(caller.tenant(), body.first());
        DeltaVersion second = deltas.resolve(caller.tenant(), body.second());
        return view(derived.compose(first, second, policy, body.task() == null ? first.task() : body.task(), base(first)));
    }

    @POST
    @Path("/subtract")
    @Allowed(Role.OWNER)
    @Changes("delta.subtract")
    @Operation(summary = "Publishes a version without the blocks of another as a new one; there it is the base again")
    public DeltaWire.Derived subtract(DeltaWire.Subtraction body) {
        require(body, body == null ? null : body.from(), body == null ? null : body.what(), "'from' and 'what'");
        DeltaVersion from = deltas.resolve(caller.tenant(), body.from());
        DeltaVersion what = deltas.resolve(caller.tenant(), body.what());
        return view(derived.subtract(from, what, body.task() == null ? from.task() : body.task(), base(from)));
    }

    private static void require(Object body, String one, String other, String fields) {
        if (body == null || one == null || other == null) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the body needs " + fields + "; name versions by base:task@number");
        }
    }

    private DerivedDeltas.Base base(DeltaVersion version) {
        LlamaModel model = catalog.base(version.base());
        return new DerivedDeltas.Base(model.fingerprint(), model);
    }

    private DeltaWire.Derived view(DerivedDeltas.Derived made) {
        return new DeltaWire.Derived(views.delta(made.version()), made.conflicts().size(), made.conflicts());
    }

    @GET
    @Path("/usage")
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "What the caller stores, and how much he may")
    public DeltaWire.Usage usage() {
        Usage usage = deltas.usage(caller.tenant());
        return DeltaWire.Usage.of(caller.tenant(), usage, deltas.quota(caller.tenant()));
    }

    @POST
    @Path("/erase")
    @Allowed(Role.OWNER)
    @Changes("delta.erase")
    @Operation(summary = "Erases all of the caller's versions, aliases and tags, for good; the body names the caller's tenant, to be sure")
    public DeltaWire.Receipt erase(DeltaWire.Erasure body) {
        if (body == null || !caller.tenant().equals(body.tenant())) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the body's field 'tenant' must be your own tenant's name; everything of it is erased");
        }
        DeltaCollector.Receipt receipt = collector.erase(caller.tenant());
        return new DeltaWire.Receipt("delta.erasure", receipt.tenant(), receipt.versions(), receipt.bytes(), receipt.fileDigests(),
                receipt.erasedAt().toString());
    }
}
