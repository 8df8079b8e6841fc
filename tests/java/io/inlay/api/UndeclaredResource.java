package io.inlay.api;

import io.smallrye.common.annotation.RunOnVirtualThread;
import jakarta.ws.rs.GET;
import jakarta.ws.rs.Path;
import org.eclipse.microprofile.openapi.annotations.Operation;

/** A resource whose author has forgotten to declare who may call it. */
@Path("/v1/undeclared")
@RunOnVirtualThread
public class UndeclaredResource {

    @GET
    @Operation(hidden = true)
    public String get() {
        return "what nobody may see";
    }
}
