package io.inlay.access;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ServerSecretTest {

    @TempDir
    private Path folder;

    @Test
    void digests_are_hmac_sha_256() {
        // printf text | openssl dgst -sha256 -hmac xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
        assertThat(ServerSecret.of(Optional.of("x".repeat(32)), folder).hex("text"))
                .isEqualTo("47ca33b395d133bf84234826e82ace1ab70ba115de5bc2e12707353fcab40dfd");
    }

    @Test
    void without_a_setting_it_is_made_once_for_its_owner_only() throws IOException {
        ServerSecret made = ServerSecret.of(Optional.empty(), folder.resolve("data"));
        Path file = folder.resolve("data/access.secret");
        assertThat(Files.readString(file)).matches("[0-9a-f]{64}\n");
        assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(file))).isEqualTo("rw-------");
        assertThat(ServerSecret.of(Optional.empty(), folder.resolve("data")).hex("a")).isEqualTo(made.hex("a"));
        assertThat(Files.list(folder.resolve("data"))).containsExactly(file);
        assertThat(ServerSecret.of(Optional.empty(), folder.resolve("other")).hex("a")).isNotEqualTo(made.hex("a"));
        assertThat(made).hasToString("ServerSecret");
    }

    @Test
    void a_file_that_others_can_read_is_refused() throws IOException {
        ServerSecret.of(Optional.empty(), folder);
        Path file = folder.resolve("access.secret");
        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-r-----"));
        assertThatThrownBy(() -> ServerSecret.of(Optional.empty(), folder)).isInstanceOf(Problem.class).hasMessage(file
                + " can be read or written by others than its owner (rw-r-----); chmod 600 it, and if somebody may have read it, give "
                + "every tenant new keys");
    }

    @Test
    void a_short_secret_and_a_cut_file_are_refused() throws IOException {
        assertThatThrownBy(() -> ServerSecret.of(Optional.of("short"), folder)).isInstanceOf(Problem.class)
                .hasMessage("inlay.access.secret has fewer than 32 characters; make one with: openssl rand -hex 32");
        ServerSecret.of(Optional.empty(), folder);
        Files.writeString(folder.resolve("access.secret"), "abc");
        assertThatThrownBy(() -> ServerSecret.of(Optional.empty(), folder)).isInstanceOf(Problem.class)
                .hasMessageContaining("holds no whole secret; put back what was there");
    }
}
