package io.inlay.api;

import io.quarkus.vertx.http.runtime.filters.Filters;
import io.vertx.ext.web.RoutingContext;
import jakarta.enterprise.context.ApplicationScoped;
import jakarta.enterprise.event.Observes;
import java.util.UUID;
import java.util.regex.Pattern;

/** Gives every request an id, and every response the header that names it: the client's own where it has a sane one. */
@ApplicationScoped
public class RequestId {

    private static final String HEADER = "x-request-id";
    private static final String KEY = RequestId.class.getName();
    private static final Pattern SANE = Pattern.compile("[A-Za-z0-9._-]{1,128}");

    /** Before anything else that may answer. */
    private static final int FIRST = 10_000;

    void register(@Observes Filters filters) {
        filters.register(context -> {
            String theirs = context.request().getHeader(HEADER);
            String id = theirs != null && SANE.matcher(theirs).matches() ? theirs : "req-" + UUID.randomUUID().toString().replace("-", "");
            context.put(KEY, id);
            context.response().putHeader(HEADER, id);
            context.next();
        }, FIRST);
    }

    static String of(RoutingContext context) {
        String id = context.get(KEY);
        return id == null ? "unknown" : id;
    }
}
