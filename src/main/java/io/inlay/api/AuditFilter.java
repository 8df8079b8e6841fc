package io.inlay.api;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.Problem;
import io.inlay.access.AuditEntry;
import io.inlay.access.AuditLog;
import io.vertx.ext.web.RoutingContext;
import jakarta.ws.rs.container.ContainerRequestContext;
import jakarta.ws.rs.container.ContainerResponseContext;
import jakarta.ws.rs.core.MediaType;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import org.jboss.resteasy.reactive.server.ServerResponseFilter;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Writes a line of the audit log for every request that was to change something, before its client is told how it ended. */
public class AuditFilter {

    private static final Logger LOG = LoggerFactory.getLogger(AuditFilter.class);

    private final AuditLog log;
    private final Caller caller;
    private final RoutingContext context;
    private final ObjectMapper json;

    AuditFilter(AuditLog log, Caller caller, RoutingContext context, ObjectMapper json) {
        this.log = log;
        this.caller = caller;
        this.context = context;
        this.json = json;
    }

    @ServerResponseFilter
    public void record(ContainerRequestContext request, ContainerResponseContext response) {
        if (caller.change().isEmpty() || caller.principal().isEmpty()) {
            return;
        }
        AuditEntry entry = new AuditEntry(Instant.now(), RequestId.of(context), caller.principal().get(), caller.change().get(),
                object(request, response.getEntity()), outcome(response.getStatus()), response.getStatus());
        try {
            log.append(entry);
        } catch (Problem unrecorded) {
            LOG.error("request {}: {} of {} ended with {} and is not recorded", entry.request(), entry.change(), entry.object().orElse("-"),
                    entry.outcome(), unrecorded);
            response.setStatus(Problems.status(unrecorded.code()));
            response.setEntity(Problems.body(unrecorded), null, MediaType.APPLICATION_JSON_TYPE);
        }
    }

    private static AuditEntry.Outcome outcome(int status) {
        if (status < 400) {
            return AuditEntry.Outcome.DONE;
        }
        if (status == 403) {
            return AuditEntry.Outcome.DENIED;
        }
        return status < 500 ? AuditEntry.Outcome.REFUSED : AuditEntry.Outcome.FAILED;
    }

    /** What the path names, or what came into being. */
    private Optional<String> object(ContainerRequestContext request, Object entity) {
        var named = request.getUriInfo().getPathParameters().values();
        if (!named.isEmpty()) {
            return Optional.of(named.stream().map(List::getFirst).collect(Collectors.joining("/")));
        }
        if (!(entity instanceof Record)) {
            return Optional.empty();
        }
        JsonNode fields = json.valueToTree(entity);
        return Optional.ofNullable(fields.path("id").asText(null));
    }
}
