package io.inlay.api;

import java.nio.file.Path;

/**
 * Bounds on deltas that come from elsewhere.
 *
 * @param maxBytes of an uploaded file
 * @param folder where it lies, under a name that nobody else knows, until it has been copied into memory
 */
public record ImportLimits(long maxBytes, Path folder) {
}
