package io.inlay.access;

import io.inlay.Problem;
import io.inlay.store.DurableFiles;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.InvalidKeyException;
import java.security.NoSuchAlgorithmException;
import java.security.SecureRandom;
import java.util.EnumSet;
import java.util.HexFormat;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** The secret under which keys are digested: with the database alone nobody can try keys against it. */
public final class ServerSecret {

    private static final String ALGORITHM = "HmacSHA256";
    private static final int SHORTEST = 32;
    private static final Set<PosixFilePermission> OWNER_ONLY = EnumSet.of(PosixFilePermission.OWNER_READ, PosixFilePermission.OWNER_WRITE);

    private final SecretKeySpec key;

    private ServerSecret(String secret) {
        this.key = new SecretKeySpec(secret.getBytes(StandardCharsets.UTF_8), ALGORITHM);
    }

    /**
     * The configured secret, or else the one in {@code <folder>/access.secret}, which is made where it is not there yet.
     *
     * @throws Problem for a short secret, and for a file that others can read
     */
    public static ServerSecret of(Optional<String> configured, Path folder) {
        if (configured.isPresent()) {
            if (configured.get().strip().length() < SHORTEST) {
                throw new Problem(Problem.Code.INVALID_REQUEST, "inlay.access.secret has fewer than " + SHORTEST
                        + " characters; make one with: openssl rand -hex 32");
            }
            return new ServerSecret(configured.get().strip());
        }
        Path file = folder.resolve("access.secret");
        try {
            if (!Files.exists(file)) {
                create(file);
            }
            Set<PosixFilePermission> rights = EnumSet.copyOf(Files.getPosixFilePermissions(file));
            rights.removeAll(OWNER_ONLY);
            if (!rights.isEmpty()) {
                throw new Problem(Problem.Code.STORAGE_FAILED, file + " can be read or written by others than its owner ("
                        + PosixFilePermissions.toString(Files.getPosixFilePermissions(file))
                                + "); chmod 600 it, and if somebody may have read it, give every tenant new keys");
            }
            String secret = Files.readString(file).strip();
            if (secret.length() < SHORTEST) {
                throw new Problem(Problem.Code.STORAGE_FAILED, file + " holds no whole secret; put back what was there, or delete it "
                        + "and give every tenant new keys");
            }
            return new ServerSecret(secret);
        } catch (IOException failure) {
            throw new Problem(Problem.Code.STORAGE_FAILED, file + " cannot be read or made: " + failure
                    + "; check the folder's rights, or set inlay.access.secret", failure);
        }
    }

    /** Written whole under another name, then linked: servers that start at the same time agree on the first one's. */
    private static void create(Path file) throws IOException {
        Files.createDirectories(file.toAbsolutePath().getParent());
        Path temporary = file.resolveSibling(".access.secret-" + UUID.randomUUID());
        byte[] bits = new byte[32];
        new SecureRandom().nextBytes(bits);
        try {
            try (FileChannel channel = FileChannel.open(temporary, Set.of(StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW),
                    PosixFilePermissions.asFileAttribute(OWNER_ONLY))) {
                channel.write(StandardCharsets.US_ASCII.encode(HexFormat.of().formatHex(bits) + "\n"));
                channel.force(true);
            }
            DurableFiles.local().publish(temporary, file);
        } catch (FileAlreadyExistsException another) {
            // Another server's, who was first; it is as good.
        } finally {
            Files.deleteIfExists(temporary);
        }
    }

    /** HMAC-SHA-256 of a text. */
    byte[] digest(String text) {
        try {
            Mac mac = Mac.getInstance(ALGORITHM);
            mac.init(key);
            return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
        } catch (NoSuchAlgorithmException | InvalidKeyException impossible) {
            throw new AssertionError("every JDK has " + ALGORITHM, impossible);
        }
    }

    /** The same, in hex. */
    String hex(String text) {
        return HexFormat.of().formatHex(digest(text));
    }

    @Override
    public String toString() {
        return "ServerSecret";
    }
}
