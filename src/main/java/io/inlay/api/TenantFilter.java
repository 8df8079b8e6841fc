package io.inlay.api;

import io.inlay.Problem;
import jakarta.ws.rs.container.ContainerRequestContext;
import jakarta.ws.rs.core.HttpHeaders;
import org.jboss.resteasy.reactive.server.ServerRequestFilter;

/** Lets nobody into {@code /v1} without a key. */
public class TenantFilter {

    private static final String SCHEME = "Bearer ";

    private final TenantKeys keys;
    private final Caller caller;

    TenantFilter(TenantKeys keys, Caller caller) {
        this.keys = keys;
        this.caller = caller;
    }

    @ServerRequestFilter(preMatching = true)
    public void identify(ContainerRequestContext request) {
        String path = request.getUriInfo().getPath();
        if (!path.startsWith("/v1")) {
            return;
        }
        String header = request.getHeaderString(HttpHeaders.AUTHORIZATION);
        if (header == null || !header.regionMatches(true, 0, SCHEME, 0, SCHEME.length())) {
            throw new Problem(Problem.Code.INVALID_API_KEY, "no API key was given; send it as 'Authorization: Bearer KEY'");
        }
        caller.is(keys.tenant(header.substring(SCHEME.length()).trim()).orElseThrow(() -> new Problem(Problem.Code.INVALID_API_KEY,
                "the API key is not one of this server's; check it, or ask the server's operator for one")));
    }
}
