package io.inlay.api;

import com.fasterxml.jackson.databind.JsonNode;
import io.inlay.Problem;
import io.inlay.access.Names;
import io.inlay.access.Role;
import io.inlay.access.Tenant;
import io.inlay.access.Tenants;
import io.inlay.store.DeltaRegistry;
import io.inlay.store.OwnQuota;
import io.smallrye.common.annotation.RunOnVirtualThread;
import jakarta.ws.rs.GET;
import jakarta.ws.rs.PUT;
import jakarta.ws.rs.Path;
import jakarta.ws.rs.PathParam;
import java.util.OptionalLong;
import java.util.Set;
import org.eclipse.microprofile.openapi.annotations.Operation;

/** What each tenant may store, and how much of it it does. */
@Path("/v1/admin/tenants/{tenant}/quota")
@RunOnVirtualThread
public class AdminQuotasResource {

    private static final Set<String> FIELDS = Set.of("bytes", "versions");

    private final Tenants tenants;
    private final DeltaRegistry deltas;

    AdminQuotasResource(Tenants tenants, DeltaRegistry deltas) {
        this.tenants = tenants;
        this.deltas = deltas;
    }

    @GET
    @Allowed(Role.ADMIN)
    @Operation(summary = "A tenant's quota and what it stores; own_bytes and own_versions are null where the server's setting holds")
    public AdminWire.QuotaView get(@PathParam("tenant") String name) {
        return view(tenants.get(name));
    }

    @PUT
    @Allowed(Role.ADMIN)
    @Changes("tenant.quota")
    @Operation(summary = "Gives a tenant a quota of its own: 'bytes', 'versions'; 0 is no bound, null or nothing is the server's setting")
    public AdminWire.QuotaView set(@PathParam("tenant") String name, JsonNode body) {
        Tenant tenant = tenants.get(name);
        if (body == null || !body.isObject()) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the body is no JSON object; give {\"bytes\": ..., \"versions\": ...}");
        }
        body.fieldNames().forEachRemaining(field -> {
            if (!FIELDS.contains(field)) {
                throw new Problem(Problem.Code.INVALID_REQUEST, "the body has a field '" + Names.shown(field)
                        + "'; a quota has 'bytes' and 'versions'");
            }
        });
        deltas.setQuota(tenant.name(), new OwnQuota(bound(body, "bytes"), bound(body, "versions")));
        return view(tenant);
    }

    private static OptionalLong bound(JsonNode body, String field) {
        JsonNode value = body.path(field);
        if (value.isMissingNode() || value.isNull()) {
            return OptionalLong.empty();
        }
        if (!value.isIntegralNumber() || !value.canConvertToLong() || value.longValue() < 0) {
            throw new Problem(Problem.Code.INVALID_REQUEST, field + " is " + value
                    + "; it must be a whole number, 0 for no bound, or null for the server's setting");
        }
        return OptionalLong.of(value.longValue());
    }

    private AdminWire.QuotaView view(Tenant tenant) {
        OwnQuota own = deltas.ownQuota(tenant.name());
        return AdminWire.QuotaView.of(tenant.name(), own, DeltaWire.Usage.of(tenant.name(), deltas.usage(tenant.name()),
                deltas.quota(tenant.name())));
    }
}
