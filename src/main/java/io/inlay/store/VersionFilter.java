package io.inlay.store;

import java.util.Optional;

/** Which of a tenant's versions are wanted; what is empty excludes nothing. */
public record VersionFilter(Optional<String> base, Optional<String> task, Optional<String> tag, Optional<String> alias) {

    public static final VersionFilter ALL = new VersionFilter(Optional.empty(), Optional.empty(), Optional.empty(), Optional.empty());
}
