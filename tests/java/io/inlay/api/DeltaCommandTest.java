package io.inlay.api;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.server.DeltaCommand;
import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.common.http.TestHTTPResource;
import io.quarkus.test.junit.QuarkusTest;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code ./inlay delta} against the started server. */
@QuarkusTest
@QuarkusTestResource(TestServer.class)
class DeltaCommandTest {

    @TestHTTPResource("/")
    private URI address;

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    @Test
    void versions_are_listed_shown_compared_promoted_rolled_back_taken_out_and_brought_in(@TempDir Path folder) throws Exception {
        DeltasTest.tune("shell", 1);
        DeltasTest.tune("shell", 2);
        DeltaCommand shell = new DeltaCommand(address, TestServer.ALICE);
        assertThat(shell.run("list")).contains("small:shell@1", "small:shell@2");
        assertThat(shell.run("list", "small:shell")).contains("small:shell@1").doesNotContain("small:named");
        assertThat(shell.run("show", "small:shell@2")).startsWith("# small:shell@2");
        assertThat(shell.run("diff", "small:shell@1", "small:shell@2")).contains("\"distance\"");
        assertThat(shell.run("alias", "small:shell", "production", "1")).contains("\"version\" : 1");
        assertThat(shell.run("alias", "small:shell", "production", "2")).contains("\"version\" : 2");
        assertThat(shell.run("rollback", "small:shell", "production")).contains("\"version\" : 1");
        assertThat(shell.run("alias", "small:shell", "production")).contains("rollback");
        assertThat(shell.run("verify", "small:shell@1")).startsWith("small:shell@1 is whole: sha256:");
        Path file = folder.resolve("shell.safetensors");
        assertThat(shell.run("export", "small:shell@1", file.toString())).endsWith(Files.size(file) + " bytes");
        assertThat(shell.run("import", file.toString(), "again")).contains("small:again@1");
        assertThat(shell.run("delete", "small:shell@2")).contains("\"deleted\" : true");
    }

    @Test
    void what_is_wrong_is_said_and_how_it_is_used() {
        DeltaCommand shell = new DeltaCommand(address, TestServer.ALICE);
        assertThatThrownBy(() -> shell.run("show", "small:nothing@1")).isInstanceOf(IOException.class)
                .hasMessageContaining("there is no version 'small:nothing@1'");
        assertThatThrownBy(() -> shell.run("paint")).isInstanceOf(IllegalArgumentException.class).hasMessageContaining("list [base:task]");
        assertThatThrownBy(() -> shell.run("alias", "small:shell", "production", "one")).isInstanceOf(IllegalArgumentException.class)
                .hasMessage("'one' is no version's number");
    }
}
