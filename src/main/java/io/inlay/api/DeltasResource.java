package io.inlay.api;

import io.inlay.Problem;
import io.inlay.access.Role;
import io.inlay.delta.DeltaDifference;
import io.inlay.generation.ModelCatalog;
import io.inlay.model.LlamaModel;
import io.inlay.store.DeltaRegistry;
import io.inlay.store.DeltaVersion;
import io.inlay.store.DerivedDeltas;
import io.inlay.store.ModelCard;
import io.inlay.store.TensorShare;
import io.inlay.store.VersionFilter;
import io.inlay.store.VersionPlace;
import io.smallrye.common.annotation.RunOnVirtualThread;
import jakarta.ws.rs.DELETE;
import jakarta.ws.rs.GET;
import jakarta.ws.rs.PATCH;
import jakarta.ws.rs.Path;
import jakarta.ws.rs.PathParam;
import jakarta.ws.rs.Produces;
import jakarta.ws.rs.QueryParam;
import jakarta.ws.rs.core.MediaType;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.eclipse.microprofile.openapi.annotations.Operation;

/** The caller's versions. Each is named {@code base:task} (the latest), {@code base:task@number} or {@code base:task@alias}. */
@Path("/v1/deltas")
@RunOnVirtualThread
public class DeltasResource {

    private static final Pattern LAYER = Pattern.compile("model\\.layers\\.([0-9]{1,6})\\.(.+)\\.weight");

    private final DeltaRegistry deltas;
    private final DerivedDeltas derived;
    private final ModelCatalog catalog;
    private final DeltaViews views;
    private final Caller caller;

    DeltasResource(DeltaRegistry deltas, DerivedDeltas derived, ModelCatalog catalog, DeltaViews views, Caller caller) {
        this.deltas = deltas;
        this.derived = derived;
        this.catalog = catalog;
        this.views = views;
        this.caller = caller;
    }

    @GET
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "The caller's versions, by base, task and number; filtered by base, task, tag or alias")
    public Wire.ListOf<DeltaWire.Delta> list(@QueryParam("limit") Integer limit, @QueryParam("after") String after,
            @QueryParam("base") String base, @QueryParam("task") String task, @QueryParam("tag") String tag, @QueryParam("alias") String alias) {
        int size = Paging.size(limit);
        List<DeltaVersion> page = deltas.page(caller.tenant(), new VersionFilter(Optional.ofNullable(base), Optional.ofNullable(task),
                Optional.ofNullable(tag), Optional.ofNullable(alias)), Optional.ofNullable(after).map(VersionPlace::parse), size + 1);
        return Wire.ListOf.page(page.stream().limit(size).map(views::delta).toList(), DeltaWire.Delta::id, page.size() > size);
    }

    @GET
    @Path("/{delta}")
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "One version and where it comes from")
    public DeltaWire.Details get(@PathParam("delta") String name) {
        DeltaVersion version = deltas.resolve(caller.tenant(), name);
        return new DeltaWire.Details(views.delta(version), version.manifest().hyperparameters(), version.manifest().metrics(),
                version.manifest().dataDigest(), version.manifest().code(), version.manifest().parents());
    }

    @PATCH
    @Path("/{delta}")
    @Allowed(Role.OWNER)
    @Changes("delta.annotate")
    @Operation(summary = "Replaces a version's tags, its note, or both")
    public DeltaWire.Delta annotate(@PathParam("delta") String name, DeltaWire.Annotation body) {
        DeltaVersion version = deltas.resolve(caller.tenant(), name);
        if (body == null || body.tags() == null && body.note() == null) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the body has neither 'tags' nor 'note'; give what is to be replaced");
        }
        if (body.tags() != null) {
            deltas.annotations().tag(version, body.tags());
        }
        if (body.note() != null) {
            deltas.annotations().note(version, body.note());
        }
        return views.delta(version);
    }

    @DELETE
    @Path("/{delta}")
    @Allowed(Role.OWNER)
    @Changes("delta.delete")
    @Operation(summary = "Deletes a version, base:task@number; one with an alias is refused")
    public Wire.Deleted delete(@PathParam("delta") String name) {
        DeltaVersion version = deltas.resolve(caller.tenant(), name);
        if (!version.model().equals(name)) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "'" + name + "' may name another version in a moment; delete one by its number, "
                    + version.model());
        }
        return new Wire.Deleted(name, "delta", deltas.delete(version));
    }

    @GET
    @Path("/{delta}/blocks")
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "What is in a version: blocks by layer and matrix, size, ratio")
    public DeltaWire.Description describe(@PathParam("delta") String name) {
        DeltaVersion version = deltas.resolve(caller.tenant(), name);
        List<TensorShare> shares = deltas.describe(version);
        return new DeltaWire.Description(version.model(), "delta.description", version.manifest().edge(),
                shares.stream().mapToLong(TensorShare::blocks).sum(), version.manifest().values(), version.fileBytes(),
                version.fileBytes() / (2.0 * Math.max(1, version.manifest().values())), shares.stream().map(DeltasResource::tensor).toList());
    }

    private static DeltaWire.Tensor tensor(TensorShare share) {
        Matcher layer = LAYER.matcher(share.tensor());
        boolean ofLayer = layer.matches();
        return new DeltaWire.Tensor(share.tensor(), ofLayer ? Integer.valueOf(layer.group(1)) : null, ofLayer ? layer.group(2) : null,
                share.blocks(), share.values() < 0 ? null : share.values(), share.bytes());
    }

    @GET
    @Path("/{delta}/card")
    @Allowed({Role.OWNER, Role.READER})
    @Produces("text/markdown")
    @Operation(summary = "A version's model card, in Markdown")
    public String card(@PathParam("delta") String name) {
        DeltaVersion version = deltas.resolve(caller.tenant(), name);
        return ModelCard.of(version, deltas.aliases().of(version), deltas.annotations().tags(version), deltas.annotations().note(version));
    }

    @GET
    @Path("/{delta}/diff")
    @Allowed({Role.OWNER, Role.READER})
    @Produces(MediaType.APPLICATION_JSON)
    @Operation(summary = "How a version and another one ('with') differ")
    public DeltaWire.Difference diff(@PathParam("delta") String name, @QueryParam("with") String other) {
        if (other == null) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the parameter 'with' is missing; name the version to compare with");
        }
        DeltaVersion first = deltas.resolve(caller.tenant(), name);
        DeltaVersion second = deltas.resolve(caller.tenant(), other);
        LlamaModel model = catalog.base(first.base());
        DeltaDifference difference = derived.compare(first, second, new DerivedDeltas.Base(model.fingerprint(), model));
        return new DeltaWire.Difference("delta.difference", first.model(), second.model(), difference.common(), difference.changed(),
                difference.onlyFirst(), difference.onlySecond(), difference.distance(), difference.largest());
    }
}
