package io.inlay.api;

import io.inlay.Problem;

/**
 * How large a request's body may be.
 *
 * @param jsonBytes of anything but a file
 * @param fileBytes of an uploaded file
 */
public record BodyLimits(long jsonBytes, long fileBytes) {

    /** What a form has beside its file. */
    private static final long FORM_BYTES = 64 * 1024;

    public BodyLimits {
        if (jsonBytes < 1 || fileBytes < 1) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "inlay.limits.json-bytes is " + jsonBytes + " and inlay.files.max-bytes "
                    + fileBytes + "; both must be at least 1");
        }
    }

    Problem jsonTooLarge() {
        return new Problem(Problem.Code.PAYLOAD_TOO_LARGE, "the body is over the limit of " + jsonBytes
                + " bytes; send less, or raise inlay.limits.json-bytes");
    }

    Problem formTooLarge() {
        return new Problem(Problem.Code.PAYLOAD_TOO_LARGE, "the upload is over the limit of " + fileBytes
                + " bytes; split it, or raise inlay.files.max-bytes");
    }

    long formBytes() {
        return Math.addExact(fileBytes, FORM_BYTES);
    }
}
