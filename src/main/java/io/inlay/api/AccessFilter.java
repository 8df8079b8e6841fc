package io.inlay.api;

import io.inlay.Problem;
import io.inlay.access.AuditLog;
import io.inlay.access.KeyRing;
import io.inlay.access.Names;
import io.inlay.access.Principal;
import io.inlay.access.RateLimits;
import io.inlay.access.Role;
import jakarta.ws.rs.container.ContainerRequestContext;
import jakarta.ws.rs.container.ResourceInfo;
import jakarta.ws.rs.core.HttpHeaders;
import jakarta.ws.rs.core.MediaType;
import jakarta.ws.rs.core.Response;
import java.lang.reflect.Method;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.jboss.resteasy.reactive.server.ServerRequestFilter;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The door, in two steps. Before it is known what is asked for: a key that works, and not too many requests; so nobody without a key can
 * tell what there is. Then: the key's role is one of those that the method declares, and names and the body are of a size and make that the
 * method can have. A method that declares no role is for nobody.
 */
public class AccessFilter {

    private static final Logger LOG = LoggerFactory.getLogger(AccessFilter.class);
    private static final String SCHEME = "Bearer ";
    /** What imports are sent as. */
    private static final Set<String> STREAMED = Set.of("octet-stream", "x-tar");

    private static final Pattern CONTROL = Pattern.compile("\\p{Cntrl}");

    private final KeyRing keys;
    private final RateLimits rates;
    private final BodyLimits bodies;
    private final AuditLog audit;
    private final Caller caller;

    AccessFilter(KeyRing keys, RateLimits rates, BodyLimits bodies, AuditLog audit, Caller caller) {
        this.keys = keys;
        this.rates = rates;
        this.bodies = bodies;
        this.audit = audit;
        this.caller = caller;
    }

    @ServerRequestFilter(preMatching = true)
    public Response identify(ContainerRequestContext request) {
        String header = request.getHeaderString(HttpHeaders.AUTHORIZATION);
        if (header == null || !header.regionMatches(true, 0, SCHEME, 0, SCHEME.length())) {
            throw new Problem(Problem.Code.INVALID_API_KEY, "no API key was given; send it as 'Authorization: Bearer KEY'");
        }
        Principal principal = keys.find(header.substring(SCHEME.length())
                .trim()).orElseThrow(() -> new Problem(Problem.Code.INVALID_API_KEY,
                "the API key is not one of this server's; check it, or ask the server's operator for one"));
        caller.is(principal);
        Optional<Duration> wait = rates.take(principal.tenant().orElse(principal.key()));
        return wait.map(time -> tooMany(principal, time)).orElse(null);
    }

    private Response tooMany(Principal principal, Duration wait) {
        return Problems.response(Problem.until(Problem.Code.RATE_LIMIT_EXCEEDED, principal.tenant().map(name -> "tenant " + name)
                .orElse("the key") + " sends more than " + rates.rate() + " requests a second (inlay.limits.requests-per-second); try "
                        + "again in " + Math.max(1, (wait.toMillis() + 999) / 1000) + " s", wait)).build();
    }

    @ServerRequestFilter
    public void authorize(ContainerRequestContext request, ResourceInfo resource) {
        Principal principal = caller.principal().orElseThrow(() -> new Problem(Problem.Code.INVALID_API_KEY,
                "no API key was given; send it as 'Authorization: Bearer KEY'"));
        Method method = resource.getResourceMethod();
        if (method.isAnnotationPresent(Changes.class)) {
            caller.changes(method.getAnnotation(Changes.class).value());
        }
        requireRole(principal, method);
        requireNames(request);
        requireSize(request);
        if (caller.change().isPresent()) {
            audit.requireWritable();
        }
    }

    private static void requireRole(Principal principal, Method method) {
        Allowed allowed = method.getAnnotation(Allowed.class);
        if (allowed == null) {
            LOG.error("{} declares no @Allowed roles, and so nobody may call it", method);
            throw new Problem(Problem.Code.PERMISSION_DENIED, "this server lets nobody call this; tell its operator");
        }
        List<Role> roles = Arrays.asList(allowed.value());
        if (!roles.contains(principal.role())) {
            throw new Problem(Problem.Code.PERMISSION_DENIED, "this needs a key with the role "
                    + roles.stream().map(Role::wire).collect(Collectors.joining(" or ")) + ", and yours has the role "
                            + principal.role().wire() + "; ask the server's operator for another");
        }
    }

    /** What no name can be never gets as far as a path or a query. */
    private static void requireNames(ContainerRequestContext request) {
        for (Map.Entry<String, List<String>> each : request.getUriInfo().getPathParameters().entrySet()) {
            for (String value : each.getValue()) {
                if (!Names.canRefer(value)) {
                    throw new Problem(Problem.Code.NOT_FOUND, "there is no " + each.getKey() + " '" + Names.shown(value)
                            + "'; names and ids are visible ASCII, 256 characters at most");
                }
            }
        }
        request.getUriInfo().getQueryParameters().forEach((name, values) -> {
            if (values.stream().anyMatch(value -> CONTROL.matcher(value).find())) {
                throw new Problem(Problem.Code.INVALID_REQUEST, "query parameter '" + Names.shown(name)
                        + "' has a control character; leave it out");
            }
        });
    }

    private void requireSize(ContainerRequestContext request) {
        MediaType type = request.getMediaType();
        boolean form = type != null && type.getType().equals("multipart");
        if (type != null && type.getType().equals("application") && STREAMED.contains(type.getSubtype())) {
            return; // Its method reads it as it comes, and has a limit of its own.
        }
        String length = request.getHeaderString(HttpHeaders.CONTENT_LENGTH);
        if (length != null && Long.parseLong(length) > (form ? bodies.formBytes() : bodies.jsonBytes())) {
            throw form ? bodies.formTooLarge() : bodies.jsonTooLarge();
        }
        if (!form && request.getHeaderString("Transfer-Encoding") != null) {
            request.setEntityStream(new LimitedBody(request.getEntityStream(), bodies.jsonBytes(), bodies::jsonTooLarge));
        }
    }
}
