package io.inlay.load;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * What the idle server holds.
 *
 * @param heap bytes of live objects
 * @param nativeBytes resident bytes beyond the heap that is committed
 * @param files open file descriptors
 * @param pagesInUse pages of keys and values that are not only kept of prompts
 * @param generations under way or waiting
 */
record Footprint(long heap, long nativeBytes, long files, long pagesInUse, long generations) {

    static Footprint of(Target server) throws IOException, InterruptedException {
        Path jcmd = Path.of(System.getProperty("java.home"), "bin", "jcmd");
        for (int i = 0; i < 2; i++) {
            Process collection = new ProcessBuilder(jcmd.toString(), Long.toString(server.pid()), "GC.run").redirectErrorStream(true)
                    .redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
            if (!collection.waitFor(60, TimeUnit.SECONDS) || collection.exitValue() != 0) {
                throw new IOException("jcmd " + server.pid() + " GC.run failed");
            }
        }
        Path process = Path.of("/proc", Long.toString(server.pid()));
        long resident = Files.readAllLines(process.resolve("status")).stream().filter(line -> line.startsWith("VmRSS:"))
                .mapToLong(line -> 1024 * Long.parseLong(line.replaceAll("[^0-9]", ""))).findFirst().orElseThrow();
        long files;
        try (Stream<Path> open = Files.list(process.resolve("fd"))) {
            files = open.count();
        }
        long committed = (long) server.figure("jvm_memory_committed_bytes", "area=\"heap\"");
        return new Footprint((long) server.figure("jvm_memory_used_bytes", "area=\"heap\""), resident - committed, files,
                (long) (server.figure("inlay_kv_pages", "state=\"used\"") - server.figure("inlay_kv_pages", "state=\"kept\"")),
                (long) (server.figure("inlay_requests_running") + server.figure("inlay_requests_waiting")));
    }

    @Override
    public String toString() {
        return String.format(Locale.ROOT,
                "heap %.1f MiB, native %.1f MiB, %d file handles, %d pages of keys and values in use, %d generations",
                heap / 1048576.0, nativeBytes / 1048576.0, files, pagesInUse, generations);
    }
}
