package io.inlay.api;

/** The largest version that is taken by upload, in bytes. */
public record UploadLimits(long maxBytes) {
}
