package io.inlay.api;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.exc.StreamConstraintsException;
import com.fasterxml.jackson.databind.JsonMappingException;
import com.fasterxml.jackson.databind.exc.MismatchedInputException;
import io.inlay.Problem;
import io.vertx.core.http.HttpClosedException;
import io.vertx.ext.web.RoutingContext;
import jakarta.ws.rs.WebApplicationException;
import jakarta.ws.rs.core.HttpHeaders;
import jakarta.ws.rs.core.MediaType;
import jakarta.ws.rs.core.Response;
import java.nio.channels.ClosedChannelException;
import java.util.stream.Collectors;
import org.jboss.resteasy.reactive.server.ServerExceptionMapper;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The one place where problems become HTTP, in OpenAI's error shape. */
public class Problems {

    private static final Logger LOG = LoggerFactory.getLogger(Problems.class);

    private final RoutingContext context;

    Problems(RoutingContext context) {
        this.context = context;
    }

    static int status(Problem.Code code) {
        return switch (code) {
            case INVALID_REQUEST, CONTEXT_LENGTH_EXCEEDED, INVALID_TRAINING_FILE, INVALID_HYPERPARAMETERS -> 400;
            case INVALID_API_KEY -> 401;
            case PERMISSION_DENIED -> 403;
            case NOT_FOUND, MODEL_NOT_FOUND -> 404;
            case CONFLICT, BASE_MISMATCH, CANCELLED -> 409;
            case PAYLOAD_TOO_LARGE -> 413;
            case RATE_LIMIT_EXCEEDED -> 429;
            case OVERLOADED, UNAVAILABLE -> 503;
            case DEADLINE_EXCEEDED -> 504;
            case STORAGE_FULL -> 507;
            case CORRUPT_CHECKPOINT, UNSUPPORTED_MODEL, CORRUPT_DELTA, STORAGE_FAILED, NOT_FINITE, INTERNAL -> 500;
        };
    }

    static Wire.ErrorBody body(Problem problem) {
        String type = switch (status(problem.code())) {
            case 401 -> "authentication_error";
            case 403 -> "permission_error";
            case 404 -> "not_found_error";
            case 429 -> "rate_limit_error";
            case 503 -> "service_unavailable_error";
            case 504 -> "timeout_error";
            case 500, 507 -> "server_error";
            default -> "invalid_request_error";
        };
        return new Wire.ErrorBody(new Wire.Error(problem.getMessage(), type, null, problem.code().wire()));
    }

    @ServerExceptionMapper
    public Response map(Problem problem) {
        int status = status(problem.code());
        if (status >= 500 && status != 503 && status != 504) {
            LOG.error("request {}: {}", RequestId.of(context), problem.getMessage(), problem);
        }
        return response(problem).build();
    }

    /** The problem's answer, with when to ask again: as it says, or else in a second where the server is busy. */
    static Response.ResponseBuilder response(Problem problem) {
        int status = status(problem.code());
        Response.ResponseBuilder response = Response.status(status).type(MediaType.APPLICATION_JSON_TYPE).entity(body(problem));
        problem.retryAfter().ifPresentOrElse(wait -> response.header(HttpHeaders.RETRY_AFTER, Math.max(1, (wait.toMillis() + 999) / 1000))
                .header("retry-after-ms", Math.max(1, wait.toMillis())), () -> {
                    if (status == 503) {
                        response.header(HttpHeaders.RETRY_AFTER, "1");
                    }
                });
        return response;
    }

    @ServerExceptionMapper(priority = 1)
    public Response map(MismatchedInputException mismatch) {
        return map(new Problem(Problem.Code.INVALID_REQUEST, "the body's " + field(mismatch) + " is of the wrong type: "
                + mismatch.getOriginalMessage().lines().findFirst().orElse("")));
    }

    private static String field(JsonMappingException failure) {
        String path = failure.getPath().stream()
                .map(step -> step.getFieldName() == null ? "[" + step.getIndex() + "]" : step.getFieldName())
                .collect(Collectors.joining("."));
        return path.isEmpty() ? "JSON" : "field '" + path + "'";
    }

    @ServerExceptionMapper
    public Response map(JsonProcessingException malformed) {
        if (malformed.getCause() instanceof Problem problem) { // Of the body's reader, which Jackson has wrapped.
            return map(problem);
        }
        Throwable root = malformed.getCause() == null ? malformed : malformed.getCause();
        if (root instanceof StreamConstraintsException limit) {
            return map(new Problem(Problem.Code.INVALID_REQUEST, "the body's JSON is nested too deeply, or has too long a name or number: "
                    + limit.getOriginalMessage() + "; its depth is bounded by inlay.limits.json-depth"));
        }
        return map(new Problem(Problem.Code.INVALID_REQUEST, "the body is not JSON: " + malformed.getOriginalMessage()));
    }

    @ServerExceptionMapper
    public Response map(WebApplicationException refused) {
        int status = refused.getResponse().getStatus();
        Throwable cause = refused.getCause();
        if (cause instanceof MismatchedInputException mismatch) {
            return map(mismatch);
        }
        if (cause instanceof JsonProcessingException malformed) {
            return map(malformed);
        }
        Problem.Code code = switch (status) {
            case 404 -> Problem.Code.NOT_FOUND;
            case 413 -> Problem.Code.PAYLOAD_TOO_LARGE;
            default -> status < 500 ? Problem.Code.INVALID_REQUEST : Problem.Code.INTERNAL;
        };
        String what = switch (status) {
            case 404 -> "there is nothing at this path; /q/openapi lists what there is";
            case 405 -> "this path does not take this method; /q/openapi lists what it takes";
            case 415 -> "this path does not take this content type; send application/json, or multipart/form-data for files";
            default -> String.valueOf(refused.getMessage());
        };
        return Response.status(status).type(MediaType.APPLICATION_JSON_TYPE).entity(body(new Problem(code, what))).build();
    }

    @ServerExceptionMapper
    public Response map(Throwable unexpected) {
        if (isHangUp(unexpected)) {
            LOG.debug("a client hung up while its request was read", unexpected);
            return Response.status(400).build();
        }
        LOG.error("request {} failed", RequestId.of(context), unexpected);
        return map(new Problem(Problem.Code.INTERNAL, "the server failed: " + unexpected.getClass().getSimpleName()
                + "; its log has more"));
    }

    private static boolean isHangUp(Throwable failure) {
        return failure != null && (failure instanceof ClosedChannelException || failure instanceof HttpClosedException
                || isHangUp(failure.getCause()));
    }
}
