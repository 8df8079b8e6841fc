package io.inlay.api;

import io.inlay.delta.DeltaFile;
import io.inlay.delta.OciLayout;
import io.inlay.store.DeltaRegistry;
import io.inlay.store.DeltaVersion;
import jakarta.enterprise.context.ApplicationScoped;
import jakarta.ws.rs.core.MediaType;
import jakarta.ws.rs.core.Response;
import jakarta.ws.rs.core.StreamingOutput;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Versions' files as answers: the very bytes that are stored, proven before the first of them is sent, in memory outside of the heap. */
@ApplicationScoped
class StoredFiles {

    static final String TAR = "application/x-tar";

    private final DeltaRegistry deltas;

    StoredFiles(DeltaRegistry deltas) {
        this.deltas = deltas;
    }

    /** Writes what is answered of a file. */
    private interface Form {
        void write(MemorySegment file, OutputStream out) throws IOException;
    }

    /** Writes an answer. */
    interface Body {
        void writeTo(OutputStream out) throws IOException;
    }

    /** The file alone. */
    Response file(DeltaVersion version) {
        return answer(version, ".safetensors", MediaType.APPLICATION_OCTET_STREAM, DeltaFile::write)
                .header("Content-Length", version.fileBytes()).build();
    }

    /** The file as the layer of an OCI artifact. */
    Response image(DeltaVersion version) {
        return answer(version, ".oci.tar", TAR, (file, out) -> OciLayout.write(version.manifest(), file, version.model(), out)).build();
    }

    private Response.ResponseBuilder answer(DeltaVersion version, String ending, String type, Form form) {
        Arena arena = Arena.ofShared();
        try {
            MemorySegment file = deltas.openVerified(version, arena);
            return streamed(arena, version, ending, type, out -> form.write(file, out)).header("Inlay-Delta", version.model())
                    .header("Inlay-Delta-Digest", version.digest());
        } catch (RuntimeException | Error refused) {
            arena.close();
            throw refused;
        }
    }

    /**
     * A file that a client saves. The arena's memory is freed at the end, however it ends.
     *
     * @param ending of the file's name
     */
    static Response.ResponseBuilder streamed(Arena arena, DeltaVersion version, String ending, String type, Body body) {
        StreamingOutput output = out -> {
            try (arena) {
                body.writeTo(out);
            }
        };
        return Response.ok(output, type).header("Content-Disposition",
                "attachment; filename=\"" + version.base() + "-" + version.task() + "-" + version.number() + ending + "\"");
    }
}
