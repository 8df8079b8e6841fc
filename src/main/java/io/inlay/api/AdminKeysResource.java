package io.inlay.api;

import io.inlay.Problem;
import io.inlay.access.ApiKey;
import io.inlay.access.IssuedKey;
import io.inlay.access.Keys;
import io.inlay.access.Role;
import io.smallrye.common.annotation.RunOnVirtualThread;
import jakarta.ws.rs.DELETE;
import jakarta.ws.rs.GET;
import jakarta.ws.rs.POST;
import jakarta.ws.rs.Path;
import jakarta.ws.rs.PathParam;
import jakarta.ws.rs.QueryParam;
import jakarta.ws.rs.core.HttpHeaders;
import java.time.Duration;
import java.util.Optional;
import org.eclipse.microprofile.openapi.annotations.Operation;
import org.jboss.resteasy.reactive.ResponseHeader;

/** The operator's keys. A key's text is in the one answer that makes it. */
@Path("/v1/admin/keys")
@RunOnVirtualThread
public class AdminKeysResource {

    /** A hundred years: seconds beyond it are a mistake, and would overflow a time. */
    private static final long LONGEST_SECONDS = 100L * 366 * 24 * 3600;

    private final Keys keys;

    AdminKeysResource(Keys keys) {
        this.keys = keys;
    }

    @POST
    @Allowed(Role.ADMIN)
    @Changes("key.create")
    @ResponseHeader(name = HttpHeaders.CACHE_CONTROL, value = "no-store")
    @Operation(summary = "Makes a key of a tenant's owner or reader, or of an operator; its text is shown this once")
    public AdminWire.KeyView create(AdminWire.KeyRequest body) {
        if (body == null || body.role() == null) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the body has no field 'role'; it is owner, reader or admin");
        }
        IssuedKey issued = keys.create(Optional.ofNullable(body.tenant()), Role.of(body.role()), body.label() == null ? "" : body.label(),
                Optional.ofNullable(body.expires_in_seconds()).map(seconds -> seconds("expires_in_seconds", seconds)));
        return AdminWire.KeyView.of(issued);
    }

    private static Duration seconds(String field, long seconds) {
        if (seconds > LONGEST_SECONDS) {
            throw new Problem(Problem.Code.INVALID_REQUEST, field + " is " + seconds + "; it must be at most " + LONGEST_SECONDS);
        }
        return Duration.ofSeconds(seconds);
    }

    @GET
    @Allowed(Role.ADMIN)
    @Operation(summary = "Every key but its text, newest first; a tenant's with tenant=NAME")
    public Wire.ListOf<AdminWire.KeyView> list(@QueryParam("tenant") String tenant, @QueryParam("limit") Integer limit,
            @QueryParam("after") String after) {
        return Paging.page(keys.list(Optional.ofNullable(tenant)), ApiKey::id, limit, after, AdminWire.KeyView::of);
    }

    @GET
    @Path("/{key}")
    @Allowed(Role.ADMIN)
    @Operation(summary = "One key's facts")
    public AdminWire.KeyView get(@PathParam("key") String id) {
        return AdminWire.KeyView.of(keys.get(id));
    }

    @POST
    @Path("/{key}/rotate")
    @Allowed(Role.ADMIN)
    @Changes("key.rotate")
    @ResponseHeader(name = HttpHeaders.CACHE_CONTROL, value = "no-store")
    @Operation(summary = "Makes a key in another's place; the old one works for grace_seconds more, or not at all")
    public AdminWire.KeyView rotate(@PathParam("key") String id, @QueryParam("grace_seconds") Long grace) {
        return AdminWire.KeyView.of(keys.rotate(id, seconds("grace_seconds", grace == null ? 0 : grace)));
    }

    @DELETE
    @Path("/{key}")
    @Allowed(Role.ADMIN)
    @Changes("key.revoke")
    @Operation(summary = "Ends a key: at once here, within seconds in every server of the database")
    public AdminWire.KeyView revoke(@PathParam("key") String id) {
        return AdminWire.KeyView.of(keys.revoke(id));
    }
}
