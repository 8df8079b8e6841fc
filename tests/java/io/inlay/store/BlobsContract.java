package io.inlay.store;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** What every place for blobs does. */
interface BlobsContract {

    /** An empty place. */
    Blobs blobs() throws Exception;

    static List<byte[]> parts(String... texts) {
        return List.of(texts).stream().map(text -> text.getBytes(StandardCharsets.UTF_8)).toList();
    }

    static Optional<String> text(Blobs blobs, String key, Optional<String> digest) {
        try (Arena arena = Arena.ofShared()) {
            return blobs.read(key, digest, arena).map((MemorySegment bytes) -> new String(bytes.toArray(ValueLayout.JAVA_BYTE),
                    StandardCharsets.UTF_8));
        }
    }

    @Test
    default void what_was_put_is_there_whole_and_listed_with_its_size() throws Exception {
        Blobs blobs = blobs();
        assertThat(blobs.putIfAbsent("acme/base/faq/1.safetensors", parts("one ", "two"))).isTrue();
        assertThat(blobs.putIfAbsent("acme/base/other/1.safetensors", parts("three"))).isTrue();
        assertThat(text(blobs, "acme/base/faq/1.safetensors", Optional.empty())).contains("one two");
        assertThat(text(blobs, "acme/base/faq/1.safetensors", Optional.of(Sha256.of(parts("one two"))))).contains("one two");
        assertThat(blobs.list("").stream().map(Blobs.Blob::key)).containsExactly("acme/base/faq/1.safetensors", "acme/base/other/1.safetensors");
        assertThat(blobs.list("acme/base/faq/")).singleElement().extracting(Blobs.Blob::bytes).isEqualTo(7L);
        assertThat(blobs.list("nobody/")).isEmpty();
        assertThat(blobs.find("acme/base/other/1.safetensors")).map(Blobs.Blob::bytes).contains(5L);
        assertThat(blobs.find("acme/base/other/2.safetensors")).isEmpty();
    }

    @Test
    default void a_key_that_is_taken_keeps_its_bytes() throws Exception {
        Blobs blobs = blobs();
        assertThat(blobs.putIfAbsent("a/b/c/1.safetensors", parts("first"))).isTrue();
        assertThat(blobs.putIfAbsent("a/b/c/1.safetensors", parts("second"))).isFalse();
        assertThat(text(blobs, "a/b/c/1.safetensors", Optional.empty())).contains("first");
    }

    @Test
    default void what_was_deleted_is_gone_for_those_who_know_its_digest_too() throws Exception {
        Blobs blobs = blobs();
        blobs.putIfAbsent("a/b/c/1.safetensors", parts("first"));
        Optional<String> digest = Optional.of(Sha256.of(parts("first")));
        assertThat(text(blobs, "a/b/c/1.safetensors", digest)).contains("first");
        assertThat(blobs.delete("a/b/c/1.safetensors")).isTrue();
        assertThat(blobs.delete("a/b/c/1.safetensors")).isFalse();
        assertThat(text(blobs, "a/b/c/1.safetensors", digest)).isEmpty();
        assertThat(blobs.list("")).isEmpty();
    }

    @Test
    default void sweeping_leaves_what_was_put() throws Exception {
        Blobs blobs = blobs();
        blobs.putIfAbsent("a/b/c/1.safetensors", parts("first"));
        assertThat(blobs.sweep(Duration.ZERO)).isZero();
        assertThat(text(blobs, "a/b/c/1.safetensors", Optional.empty())).contains("first");
    }
}
