package io.inlay.store;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class S3BlobsTest implements BlobsContract {

    @TempDir
    private static Path objects;
    @TempDir
    private Path cache;
    private static S3Server server;
    private static int buckets;

    @BeforeAll
    static void start() throws Exception {
        server = new S3Server(objects);
    }

    @AfterAll
    static void stop() throws Exception {
        server.close();
    }

    @Override
    public Blobs blobs() {
        return blobs(1 << 20);
    }

    private Blobs blobs(long cacheBytes) {
        String bucket = "bucket-" + buckets++;
        server.client().createBucket(create -> create.bucket(bucket));
        return new S3Blobs(server.client(), bucket, "inlay/", cache, cacheBytes);
    }

    @Test
    void copies_are_used_again_and_bounded_in_size() throws Exception {
        Blobs blobs = blobs(1500);
        for (int i = 1; i <= 3; i++) {
            byte[] bytes = new byte[1000];
            bytes[0] = (byte) i;
            blobs.putIfAbsent("a/b/c/" + i + ".safetensors", List.of(bytes));
            try (Arena arena = Arena.ofShared()) {
                assertThat(blobs.read("a/b/c/" + i + ".safetensors", Optional.of(Sha256.of(List.of(bytes))), arena).orElseThrow()
                        .get(ValueLayout.JAVA_BYTE, 0)).isEqualTo((byte) i);
            }
            try (Stream<Path> copies = Files.list(cache)) {
                assertThat(copies).hasSize(1);
            }
        }
    }

    @Test
    void a_bucket_that_is_not_there_is_an_error_that_says_what_to_check() {
        Blobs blobs = new S3Blobs(server.client(), "nowhere", "", cache, 1000);
        assertThatThrownBy(() -> blobs.putIfAbsent("a/b/c/1.safetensors", List.of(new byte[3]))).isInstanceOf(Problem.class)
                .hasMessageStartingWith("writing a/b/c/1.safetensors in the bucket nowhere failed")
                .hasMessageEndingWith("check inlay.deltas.s3's endpoint, region and bucket, and the credentials");
    }
}
