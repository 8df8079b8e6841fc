package io.inlay.server.demo;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Which JVM flags a server starts with. That a server starts with a cache is seen wherever the packaged one is tested. */
class StartupCacheTest {

    @TempDir
    private Path folder;

    private Path file(String name, Instant modified) throws IOException {
        Path file = Files.createFile(folder.resolve(name));
        Files.setLastModifiedTime(file, FileTime.from(modified));
        return file;
    }

    @Test
    void aJarWithoutACacheStartsWithoutFlags() throws IOException {
        assertThat(StartupCache.flags(file("quarkus-run.jar", Instant.EPOCH))).isEmpty();
    }

    @Test
    void aCacheThatIsAsNewAsItsJarIsUsed() throws IOException {
        Path jar = file("quarkus-run.jar", Instant.EPOCH);
        Path cache = file("app.aot", Instant.EPOCH.plusSeconds(1));
        assertThat(StartupCache.flags(jar)).containsExactly("-XX:AOTCache=" + cache);
    }

    @Test
    void aCacheOfAnOlderJarIsNotUsed() throws IOException {
        Path jar = file("quarkus-run.jar", Instant.EPOCH.plusSeconds(1));
        file("app.aot", Instant.EPOCH);
        assertThat(StartupCache.flags(jar)).isEmpty();
    }
}
