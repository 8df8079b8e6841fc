/**
 * Delta checkpoints: versions and their files, aliases, tags, quotas, leases; atomic publishing, verified reading, collection.
 *
 * <p>Files are {@code Blobs}, in a folder or in S3; what is known of them is rows of a database ({@code Database}, which {@code jobs}
 * uses too). May use {@code delta}. Never sees a tensor, a model or HTTP. model-store/README.md specifies every byte it writes.
 */
package io.inlay.store;
