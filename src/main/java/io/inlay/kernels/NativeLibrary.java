package io.inlay.kernels;

import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;

/**
 * The compiled CPU kernels as a file that the system can load: copied from the class path into the user's cache, under the hash of its
 * contents, so that versions never meet and a running server's library is never overwritten.
 */
record NativeLibrary(Path file, SymbolLookup symbols) {

    static NativeLibrary load(InstructionSet set) throws IOException {
        byte[] bytes;
        try (InputStream resource = NativeLibrary.class.getResourceAsStream(set.resource())) {
            if (resource == null) {
                throw new IOException("this build has no " + set.resource()
                        + ": no C compiler was there, or it refused (see the build's output)");
            }
            bytes = resource.readAllBytes();
        }
        Path file = cache().resolve(digest(bytes)).resolve(Path.of(set.resource()).getFileName().toString());
        if (!Files.isRegularFile(file) || !Arrays.equals(Files.readAllBytes(file), bytes)) {
            Files.createDirectories(file.getParent());
            Path fresh = Files.createTempFile(file.getParent(), "libinlay", ".new");
            Files.write(fresh, bytes);
            Files.move(fresh, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        }
        try {
            return new NativeLibrary(file, SymbolLookup.libraryLookup(file, Arena.global()));
        } catch (IllegalArgumentException refused) {
            throw new IOException("the system does not load " + file + ": " + refused.getMessage(), refused);
        }
    }

    private static Path cache() {
        String configured = System.getenv("XDG_CACHE_HOME");
        Path home = configured == null || configured.isBlank() ? Path.of(System.getProperty("user.home"), ".cache") : Path.of(configured);
        return home.resolve("inlay").resolve("kernels");
    }

    private static String digest(byte[] bytes) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes)).substring(0, 16);
        } catch (NoSuchAlgorithmException impossible) {
            throw new AssertionError(impossible);
        }
    }
}
