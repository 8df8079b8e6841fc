package io.inlay.store;

import io.inlay.delta.DeltaManifest;

/**
 * One immutable delta in the store.
 *
 * @param base name of the base model
 * @param number counts from 1 in a task; never given twice, not even after a deletion
 * @param digest {@code sha256:...} of places and decoded values; see {@link DeltaManifest#digest()}
 * @param fileDigest {@code sha256:...} of the file's bytes
 * @param fileBytes size on disk
 */
public record DeltaVersion(String tenant, String base, String task, int number, String digest, String fileDigest, long fileBytes,
        DeltaManifest manifest) {

    /** The name that clients use: {@code base:task@number}. */
    public String model() {
        return base + ":" + task + "@" + number;
    }

    /** Where its file is. */
    String key() {
        return key(tenant, base, task, number);
    }

    static String key(String tenant, String base, String task, int number) {
        return tenant + "/" + base + "/" + task + "/" + number + ".safetensors";
    }
}
