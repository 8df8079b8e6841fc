package io.inlay.store;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.github.luben.zstd.Zstd;
import com.github.luben.zstd.util.ZstdVersion;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.h2.jdbcx.JdbcDataSource;
import org.slf4j.LoggerFactory;

/**
 * JVMs of one program of the store that start in a fraction of the time that others take: with the few libraries that it needs, and with
 * classes from an archive that a first run of the program has left.
 */
final class QuickJvm {

    private final List<String> command;

    private QuickJvm(List<String> command) {
        this.command = command;
    }

    /** Runs the program once to its end, to make the archive in the folder. */
    static QuickJvm trained(Path folder, Class<?> program, String... arguments) throws Exception {
        Path database = Path.of(arguments[0]);
        Stores.migrated(Stores.h2("jdbc:h2:file:" + database.resolve("registry")));
        // Archives have classes of jars alone.
        Path own = folder.resolve("own.jar");
        try (JarOutputStream jar = new JarOutputStream(Files.newOutputStream(own))) {
            for (Path classes : List.of(home(DeltaRegistry.class), home(QuickJvm.class))) {
                for (String part : List.of("io/inlay/delta", "io/inlay/store", "io/inlay/Problem.class", "io/inlay/Problem$Code.class")) {
                    add(classes, classes.resolve(part), jar);
                }
            }
        }
        String classPath = Stream.concat(Stream.of(own), Stream.of(JdbcDataSource.class, Zstd.class, ObjectMapper.class, JsonFactory.class,
                JsonProperty.class, LoggerFactory.class).map(QuickJvm::home)).map(Path::toString)
                .collect(Collectors.joining(File.pathSeparator));
        // Otherwise each JVM would unpack it into the folder of temporary files, and being killed leave it there.
        Path zstd = folder.resolve("libzstd.so");
        try (InputStream library = Zstd.class.getResourceAsStream("/linux/amd64/libzstd-jni-" + ZstdVersion.VERSION + ".so")) {
            Files.copy(library, zstd);
        }
        Path archive = folder.resolve("classes.aot");
        List<String> common = List.of("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Xmx128m",
                "--enable-native-access=ALL-UNNAMED", "-DZstdNativePath=" + zstd, "-cp", classPath, program.getName());
        Process training = start(command(List.of("-XX:AOTCacheOutput=" + archive), common), ProcessBuilder.Redirect.INHERIT, arguments);
        training.inputReader().lines().forEach(_ -> { });
        if (training.waitFor() != 0 || !Files.exists(archive)) {
            throw new IOException("the first run ended with exit code " + training.exitValue() + "; its errors are above");
        }
        return new QuickJvm(command(List.of("-XX:AOTCache=" + archive), common));
    }

    private static List<String> command(List<String> first, List<String> rest) {
        List<String> command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString()));
        command.addAll(first);
        command.addAll(rest);
        return command;
    }

    private static Path home(Class<?> type) {
        try {
            return Path.of(type.getProtectionDomain().getCodeSource().getLocation().toURI());
        } catch (URISyntaxException impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    private static void add(Path root, Path part, JarOutputStream jar) throws IOException {
        if (!Files.exists(part)) {
            return;
        }
        try (Stream<Path> all = Files.walk(part)) {
            for (Path file : all.filter(Files::isRegularFile).toList()) {
                jar.putNextEntry(new JarEntry(root.relativize(file).toString()));
                Files.copy(file, jar);
            }
        }
    }

    /** Starts the program; its standard output is for the caller. */
    Process start(String... arguments) throws IOException {
        return start(command, ProcessBuilder.Redirect.DISCARD, arguments);
    }

    private static Process start(List<String> command, ProcessBuilder.Redirect errors, String... arguments) throws IOException {
        List<String> whole = new ArrayList<>(command);
        whole.addAll(List.of(arguments));
        return new ProcessBuilder(whole).redirectError(errors).start();
    }
}
