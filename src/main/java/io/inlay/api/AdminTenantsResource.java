package io.inlay.api;

import io.inlay.Problem;
import io.inlay.access.Role;
import io.inlay.access.Tenant;
import io.inlay.access.Tenants;
import io.smallrye.common.annotation.RunOnVirtualThread;
import jakarta.ws.rs.DELETE;
import jakarta.ws.rs.GET;
import jakarta.ws.rs.POST;
import jakarta.ws.rs.Path;
import jakarta.ws.rs.PathParam;
import jakarta.ws.rs.QueryParam;
import org.eclipse.microprofile.openapi.annotations.Operation;

/** The operator's tenants. */
@Path("/v1/admin/tenants")
@RunOnVirtualThread
public class AdminTenantsResource {

    private final Tenants tenants;

    AdminTenantsResource(Tenants tenants) {
        this.tenants = tenants;
    }

    @POST
    @Allowed(Role.ADMIN)
    @Changes("tenant.create")
    @Operation(summary = "Makes a tenant")
    public AdminWire.TenantView create(AdminWire.TenantRequest body) {
        if (body == null || body.name() == null) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the body has no field 'name'; it is required");
        }
        return AdminWire.TenantView.of(tenants.create(body.name()));
    }

    @GET
    @Allowed(Role.ADMIN)
    @Operation(summary = "Every tenant, by name")
    public Wire.ListOf<AdminWire.TenantView> list(@QueryParam("limit") Integer limit, @QueryParam("after") String after) {
        return Paging.page(tenants.list(), Tenant::name, limit, after, AdminWire.TenantView::of);
    }

    @GET
    @Path("/{tenant}")
    @Allowed(Role.ADMIN)
    @Operation(summary = "One tenant")
    public AdminWire.TenantView get(@PathParam("tenant") String name) {
        return AdminWire.TenantView.of(tenants.get(name));
    }

    @POST
    @Path("/{tenant}/suspend")
    @Allowed(Role.ADMIN)
    @Changes("tenant.suspend")
    @Operation(summary = "Refuses a tenant's keys until it is activated; nothing is lost")
    public AdminWire.TenantView suspend(@PathParam("tenant") String name) {
        return AdminWire.TenantView.of(tenants.suspend(name));
    }

    @POST
    @Path("/{tenant}/activate")
    @Allowed(Role.ADMIN)
    @Changes("tenant.activate")
    @Operation(summary = "Accepts a suspended tenant's keys again")
    public AdminWire.TenantView activate(@PathParam("tenant") String name) {
        return AdminWire.TenantView.of(tenants.activate(name));
    }

    @DELETE
    @Path("/{tenant}")
    @Allowed(Role.ADMIN)
    @Changes("tenant.delete")
    @Operation(summary = "Revokes a tenant's keys and marks it for deletion, for good; its name is not given again")
    public AdminWire.TenantView delete(@PathParam("tenant") String name) {
        return AdminWire.TenantView.of(tenants.requestDeletion(name));
    }
}
