package io.inlay.access;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Instant;
import java.util.Locale;
import java.util.Optional;

/**
 * One change: who, what, how it ended. Never a key or a prompt.
 *
 * @param request id of the request, as its response has it
 * @param change what was to be changed and how: {@code file.upload}
 * @param object id or name of what was changed
 * @param status of HTTP, or 0 where there was none
 */
public record AuditEntry(Instant time, String request, Principal who, String change, Optional<String> object, Outcome outcome, int status) {

    private static final ObjectMapper JSON = new ObjectMapper();

    /** How a change ended. */
    public enum Outcome {

        /** It was made. */
        DONE,

        /** The key does not allow it. */
        DENIED,

        /** It was not made, since the request or the state of things did not allow it. */
        REFUSED,

        /** The server failed; parts of it may have been made. */
        FAILED
    }

    /** One line of JSON. */
    String line() {
        ObjectNode line = JSON.createObjectNode().put("time", time.toString()).put("request", request).put("key", who.key())
                .put("role", who.role().wire()).put("tenant", who.tenant().orElse(null)).put("change", change)
                .put("object", object.map(name -> KeyText.redacted(Names.shown(name))).orElse(null))
                .put("outcome", outcome.name().toLowerCase(Locale.ROOT)).put("status", status);
        return line.toString();
    }
}
