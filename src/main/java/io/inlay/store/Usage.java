package io.inlay.store;

/** What a tenant stores: versions that are published or being published, and bytes of their files. */
public record Usage(long versions, long bytes) {
}
