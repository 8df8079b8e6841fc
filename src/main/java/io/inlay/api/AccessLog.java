package io.inlay.api;

import io.quarkus.vertx.http.runtime.filters.Filters;
import io.vertx.ext.web.RoutingContext;
import jakarta.enterprise.context.ApplicationScoped;
import jakarta.enterprise.event.Observes;
import jakarta.ws.rs.Path;
import jakarta.ws.rs.container.ContainerResponseContext;
import jakarta.ws.rs.container.ResourceInfo;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import org.jboss.resteasy.reactive.server.ServerRequestFilter;
import org.jboss.resteasy.reactive.server.ServerResponseFilter;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.slf4j.MDC;

/**
 * One line a request of the API, when it has ended, with what it was and what came of it; as text, or as fields where logs are JSON. No
 * prompts, no answers, no keys; and so the route, not the path, in which a client may have put anything.
 */
@ApplicationScoped
public class AccessLog {

    private static final Logger LOG = LoggerFactory.getLogger("inlay.access");
    private static final String TENANT = AccessLog.class.getName() + ".tenant";
    private static final String ROUTE = AccessLog.class.getName() + ".route";
    private static final String ANSWER = AccessLog.class.getName() + ".answer";
    private static final String API = "/v1/";

    /** Right behind what gives the request its id. */
    private static final int SECOND = 9_000;

    /** Before what may refuse. */
    private static final int EARLY = 100;

    private final Settings settings;
    private final Caller caller;
    private final RoutingContext client;

    /** @param written whether there is an access log */
    public record Settings(boolean written) {
    }

    AccessLog(Settings settings, Caller caller, RoutingContext client) {
        this.settings = settings;
        this.caller = caller;
        this.client = client;
    }

    /** The generations of one request, of which there may be several. Thread-safe. */
    static final class Answer {
        private final String model;
        private long prompted;
        private long drawn;
        private int underWay;
        private String finish;

        private Answer(String model) {
            this.model = model;
        }

        private synchronized void begun() {
            underWay++;
        }

        synchronized void ended(int promptTokens, int tokens, String how) {
            underWay--;
            prompted += promptTokens;
            drawn += tokens;
            finish = how;
        }

        private synchronized void addTo(Map<String, String> fields) {
            fields.put("model", model);
            fields.put("prompt_tokens", Long.toString(prompted));
            fields.put("completion_tokens", Long.toString(drawn));
            fields.put("finish_reason", underWay > 0 || finish == null ? "cancelled" : finish);
        }
    }

    /** Where a generation of the request is to say how it ended. */
    static Answer answer(RoutingContext context, String tenant, String model) {
        context.put(TENANT, tenant);
        Answer answer = context.get(ANSWER);
        if (answer == null) {
            answer = new Answer(model);
            context.put(ANSWER, answer);
        }
        answer.begun();
        return answer;
    }

    @ServerRequestFilter(priority = EARLY)
    public void remember(ResourceInfo resource) {
        Path method = resource.getResourceMethod().getAnnotation(Path.class);
        client.put(ROUTE, resource.getResourceClass().getAnnotation(Path.class).value() + (method == null ? "" : method.value()));
    }

    @ServerResponseFilter
    public void remember(ContainerResponseContext response) {
        caller.principal().flatMap(io.inlay.access.Principal::tenant).ifPresent(tenant -> client.put(TENANT, tenant));
    }

    void register(@Observes Filters filters) {
        if (!settings.written()) {
            return;
        }
        filters.register(context -> {
            if (context.normalizedPath().startsWith(API)) {
                long start = System.nanoTime();
                context.addEndHandler(_ -> write(context, (System.nanoTime() - start) / 1e9));
            }
            context.next();
        }, SECOND);
    }

    private static void write(RoutingContext context, double seconds) {
        Map<String, String> fields = new LinkedHashMap<>();
        fields.put("request", RequestId.of(context));
        String tenant = context.get(TENANT);
        fields.put("tenant", tenant == null ? "-" : tenant);
        fields.put("method", context.request().method().name());
        String route = context.get(ROUTE);
        fields.put("route", route == null ? "-" : route);
        fields.put("status", Integer.toString(context.response().getStatusCode()));
        fields.put("seconds", String.format(Locale.ROOT, "%.3f", seconds));
        Answer answer = context.get(ANSWER);
        if (answer != null) {
            answer.addTo(fields);
        }
        try {
            fields.forEach(MDC::put);
            LOG.info(fields.entrySet().stream().map(field -> field.getKey() + "=" + field.getValue()).collect(Collectors.joining(" ")));
        } finally {
            fields.keySet().forEach(MDC::remove);
        }
    }
}
