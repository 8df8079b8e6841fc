package io.inlay.api;

import io.inlay.Problem;
import io.inlay.access.Role;
import io.inlay.store.Aliases;
import io.inlay.store.DeltaCollector;
import io.inlay.store.DeltaRegistry;
import io.inlay.store.DeltaVersion;
import io.inlay.store.Gate;
import io.smallrye.common.annotation.RunOnVirtualThread;
import jakarta.ws.rs.DELETE;
import jakarta.ws.rs.GET;
import jakarta.ws.rs.POST;
import jakarta.ws.rs.PUT;
import jakarta.ws.rs.Path;
import jakarta.ws.rs.PathParam;
import jakarta.ws.rs.QueryParam;
import java.util.List;
import java.util.OptionalInt;
import org.eclipse.microprofile.openapi.annotations.Operation;

/** Aliases of a task, {@code base:task}, and how many of its versions are kept. */
@Path("/v1/deltas")
@RunOnVirtualThread
public class DeltaAliasesResource {

    private final DeltaRegistry deltas;
    private final DeltaCollector collector;
    private final Caller caller;

    DeltaAliasesResource(DeltaRegistry deltas, DeltaCollector collector, Caller caller) {
        this.deltas = deltas;
        this.collector = collector;
        this.caller = caller;
    }

    @GET
    @Path("/{task}/aliases")
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "A task's aliases")
    public Wire.ListOf<DeltaWire.Alias> list(@PathParam("task") String task) {
        return Wire.ListOf.of(deltas.aliases().list(task(task)).stream().map(DeltaViews::alias).toList());
    }

    @PUT
    @Path("/{task}/aliases/{alias}")
    @Allowed(Role.OWNER)
    @Changes("alias.move")
    @Operation(summary = "Promotes a version: moves an alias to it, if it names the expected one now and the version passes the gate")
    public DeltaWire.Alias move(@PathParam("task") String task, @PathParam("alias") String alias, DeltaWire.Promotion body) {
        if (body == null || body.version() == null) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the body has no field 'version'; give the number that the alias is to name");
        }
        Aliases.Task of = task(task);
        DeltaVersion version = deltas.resolve(caller.tenant(), of.base() + ":" + of.name() + "@" + body.version());
        if (body.gate() != null) {
            DeltaWire.GateBody gate = body.gate();
            new Gate(gate.metric(), Gate.Comparison.of(gate.comparison()), gate.threshold() == null ? Double.NaN : gate.threshold())
                    .require(version);
        }
        return DeltaViews.alias(deltas.aliases().move(of, alias, version.number(), expected(body.expected())));
    }

    @POST
    @Path("/{task}/aliases/{alias}/rollback")
    @Allowed(Role.OWNER)
    @Changes("alias.rollback")
    @Operation(summary = "Moves an alias back to what it named before")
    public DeltaWire.Alias rollback(@PathParam("task") String task, @PathParam("alias") String alias,
            @QueryParam("expected") Integer expected) {
        return DeltaViews.alias(deltas.aliases().rollback(task(task), alias, expected(expected)));
    }

    @DELETE
    @Path("/{task}/aliases/{alias}")
    @Allowed(Role.OWNER)
    @Changes("alias.remove")
    @Operation(summary = "Removes an alias; its history stays")
    public Wire.Deleted remove(@PathParam("task") String task, @PathParam("alias") String alias, @QueryParam("expected") Integer expected) {
        if (!deltas.aliases().remove(task(task), alias, expected(expected))) {
            throw new Problem(Problem.Code.NOT_FOUND, "there is no alias '" + task + "@" + alias + "'");
        }
        return new Wire.Deleted(task + "@" + alias, "delta.alias", true);
    }

    @GET
    @Path("/{task}/aliases/{alias}/history")
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "Every change of an alias, the first one first")
    public Wire.ListOf<DeltaWire.Move> history(@PathParam("task") String task, @PathParam("alias") String alias) {
        List<DeltaWire.Move> moves = deltas.aliases().history(task(task), alias).stream().map(move -> new DeltaWire.Move(move.revision(),
                move.kind().name().toLowerCase(java.util.Locale.ROOT), number(move.from()), number(move.to()), move.madeAt() / 1000)).toList();
        if (moves.isEmpty()) {
            throw new Problem(Problem.Code.NOT_FOUND, "there is no alias '" + task + "@" + alias + "', and there never was");
        }
        return Wire.ListOf.of(moves);
    }

    @POST
    @Path("/{task}/retention")
    @Allowed(Role.OWNER)
    @Changes("delta.retain")
    @Operation(summary = "Deletes a task's versions but the newest, those with an alias and those in use")
    public DeltaWire.Deleted retain(@PathParam("task") String task, DeltaWire.Retention body) {
        if (body == null || body.keep_last() == null) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the body has no field 'keep_last'; say how many of the newest versions are kept");
        }
        return new DeltaWire.Deleted("delta.retention", collector.retain(task(task), body.keep_last()).stream().map(DeltaVersion::model).toList());
    }

    private Aliases.Task task(String name) {
        String[] parts = name.split(":", -1);
        if (parts.length != 2) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "'" + name + "' names no task; give base:task");
        }
        return new Aliases.Task(caller.tenant(), parts[0], parts[1]);
    }

    private static OptionalInt expected(Integer number) {
        return number == null ? OptionalInt.empty() : OptionalInt.of(number);
    }

    private static Integer number(OptionalInt number) {
        return number.isPresent() ? number.getAsInt() : null;
    }
}
