package io.inlay.api;

import io.inlay.Problem;
import io.inlay.access.Role;
import io.inlay.access.Tenant;
import io.inlay.access.Tenants;
import io.inlay.jobs.TenantErasures;
import io.smallrye.common.annotation.RunOnVirtualThread;
import jakarta.ws.rs.DELETE;
import jakarta.ws.rs.GET;
import jakarta.ws.rs.POST;
import jakarta.ws.rs.Path;
import jakarta.ws.rs.PathParam;
import jakarta.ws.rs.QueryParam;
import java.util.Optional;
import org.eclipse.microprofile.openapi.annotations.Operation;

/** The operator's tenants. */
@Path("/v1/admin/tenants")
@RunOnVirtualThread
public class AdminTenantsResource {

    private final Tenants tenants;
    private final TenantErasures erasures;

    AdminTenantsResource(Tenants tenants, TenantErasures erasures) {
        this.tenants = tenants;
        this.erasures = erasures;
    }

    private AdminWire.TenantView view(Tenant tenant) {
        return AdminWire.TenantView.of(tenant, tenant.status() == Tenant.Status.DELETION_REQUESTED ? erasures.find(tenant.name())
                : Optional.empty());
    }

    @POST
    @Allowed(Role.ADMIN)
    @Changes("tenant.create")
    @Operation(summary = "Makes a tenant")
    public AdminWire.TenantView create(AdminWire.TenantRequest body) {
        if (body == null || body.name() == null) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the body has no field 'name'; it is required");
        }
        return view(tenants.create(body.name()));
    }

    @GET
    @Allowed(Role.ADMIN)
    @Operation(summary = "Every tenant, by name")
    public Wire.ListOf<AdminWire.TenantView> list(@QueryParam("limit") Integer limit, @QueryParam("after") String after) {
        return Paging.page(tenants.list(), Tenant::name, limit, after, this::view);
    }

    @GET
    @Path("/{tenant}")
    @Allowed(Role.ADMIN)
    @Operation(summary = "One tenant")
    public AdminWire.TenantView get(@PathParam("tenant") String name) {
        return view(tenants.get(name));
    }

    @POST
    @Path("/{tenant}/suspend")
    @Allowed(Role.ADMIN)
    @Changes("tenant.suspend")
    @Operation(summary = "Refuses a tenant's keys until it is activated; nothing is lost")
    public AdminWire.TenantView suspend(@PathParam("tenant") String name) {
        return view(tenants.suspend(name));
    }

    @POST
    @Path("/{tenant}/activate")
    @Allowed(Role.ADMIN)
    @Changes("tenant.activate")
    @Operation(summary = "Accepts a suspended tenant's keys again")
    public AdminWire.TenantView activate(@PathParam("tenant") String name) {
        return view(tenants.activate(name));
    }

    @DELETE
    @Path("/{tenant}")
    @Allowed(Role.ADMIN)
    @Changes("tenant.delete")
    @Operation(summary = "Revokes a tenant's keys and erases its jobs, files, versions and aliases, for good; its name is not given "
            + "again. The answer, and that to GET, has the receipt as soon as nothing is left")
    public AdminWire.TenantView delete(@PathParam("tenant") String name) {
        Tenant deleted = tenants.requestDeletion(name);
        erasures.begin(deleted.name());
        return view(deleted);
    }
}
