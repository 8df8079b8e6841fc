package io.inlay;

import java.time.Duration;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;

/**
 * A refusal or failure that a user can act on: a stable code, and a message that says what, where and what to do next.
 * Every package throws this one type for what its caller did or has; {@code api} maps the codes to HTTP in one place.
 */
public final class Problem extends RuntimeException {

    /** Stable codes; {@link #wire()} is what clients see. */
    public enum Code {
        INVALID_REQUEST,
        INVALID_API_KEY,
        PERMISSION_DENIED,
        RATE_LIMIT_EXCEEDED,
        NOT_FOUND,
        MODEL_NOT_FOUND,
        CONTEXT_LENGTH_EXCEEDED,
        INVALID_TRAINING_FILE,
        INVALID_HYPERPARAMETERS,
        CORRUPT_CHECKPOINT,
        UNSUPPORTED_MODEL,
        CORRUPT_DELTA,
        BASE_MISMATCH,
        CONFLICT,
        PAYLOAD_TOO_LARGE,
        STORAGE_FULL,
        STORAGE_FAILED,
        NOT_FINITE,
        OVERLOADED,
        DEADLINE_EXCEEDED,
        CANCELLED,
        UNAVAILABLE,
        INTERNAL;

        /** The code as it travels in JSON: {@code model_not_found}. */
        public String wire() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    private final Code code;
    private final transient Duration retryAfter;

    public Problem(Code code, String message) {
        this(code, message, null);
    }

    public Problem(Code code, String message, Throwable cause) {
        this(code, message, cause, null);
    }

    private Problem(Code code, String message, Throwable cause, Duration retryAfter) {
        super(Objects.requireNonNull(message), cause);
        this.code = Objects.requireNonNull(code);
        this.retryAfter = retryAfter;
    }

    /** A refusal that ends with time: the same request may be taken after the wait. */
    public static Problem until(Code code, String message, Duration wait) {
        return new Problem(code, message, null, wait);
    }

    /** How long to wait before asking again, where that is known. */
    public Optional<Duration> retryAfter() {
        return Optional.ofNullable(retryAfter);
    }

    public Code code() {
        return code;
    }
}
