package io.inlay.store;

import java.nio.file.Path;
import java.time.Duration;
import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;

class RegistryOnS3Test extends RegistryContract {

    @TempDir
    private static Path objects;
    private static S3Server server;
    private final Set<String> made = new HashSet<>();

    @BeforeAll
    static void start() throws Exception {
        server = new S3Server(objects);
    }

    @AfterAll
    static void stop() throws Exception {
        server.close();
    }

    @Override
    DeltaRegistry registry(Path folder, Quota quota, Duration lease) {
        String bucket = "bucket-" + Integer.toHexString(folder.hashCode());
        if (made.add(bucket)) {
            server.client().createBucket(create -> create.bucket(bucket));
        }
        return new DeltaRegistry(new S3Blobs(server.client(), bucket, "inlay/", folder.resolve("cache"), 1 << 20),
                Stores.database(folder.toString()), quota, lease);
    }
}
