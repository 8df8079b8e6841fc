package io.inlay.api;

import io.inlay.Problem;
import io.inlay.access.Role;
import io.inlay.delta.DeltaFile;
import io.inlay.delta.DeltaImport;
import io.inlay.delta.DeltaManifest;
import io.inlay.delta.DenseExport;
import io.inlay.delta.OciLayout;
import io.inlay.generation.ModelCatalog;
import io.inlay.model.LlamaModel;
import io.inlay.model.MergedExport;
import io.inlay.store.DeltaRegistry;
import io.inlay.store.DeltaVersion;
import io.inlay.store.FileBytes;
import io.inlay.store.LoadedDelta;
import io.smallrye.common.annotation.RunOnVirtualThread;
import jakarta.ws.rs.Consumes;
import jakarta.ws.rs.DefaultValue;
import jakarta.ws.rs.GET;
import jakarta.ws.rs.POST;
import jakarta.ws.rs.Path;
import jakarta.ws.rs.PathParam;
import jakarta.ws.rs.QueryParam;
import jakarta.ws.rs.core.MediaType;
import jakarta.ws.rs.core.Response;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.util.Set;
import org.eclipse.microprofile.openapi.annotations.Operation;

/** Versions of the caller's deltas as files for elsewhere, and files from elsewhere as versions. */
@Path("/v1/deltas")
@RunOnVirtualThread
public class DeltaExportsResource {

    private final ModelCatalog catalog;
    private final DeltaRegistry deltas;
    private final StoredFiles stored;
    private final Caller caller;
    private final ImportLimits limits;

    DeltaExportsResource(ModelCatalog catalog, DeltaRegistry deltas, StoredFiles stored, Caller caller, ImportLimits limits) {
        this.catalog = catalog;
        this.deltas = deltas;
        this.stored = stored;
        this.caller = caller;
        this.limits = limits;
    }

    /** What an import has become. */
    public record Imported(String id, String object, String digest, long bytes, long values) {
    }

    @GET
    @Path("/{model}/export")
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "A version as a file: delta (its own), dense (plain safetensors), merged (a whole checkpoint, tar) or oci (an artifact, "
            + "tar)")
    public Response export(@PathParam("model") String model, @QueryParam("format") @DefaultValue("delta") String format) {
        if (!Set.of("delta", "dense", "merged", "oci").contains(format)) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the format is '" + format + "'; it must be delta, dense, merged or oci");
        }
        DeltaVersion version = catalog.resolve(caller.tenant(), model).delta().orElseThrow(() -> new Problem(Problem.Code.INVALID_REQUEST,
                "'" + model + "' is a base; export a fine-tune, base:task or base:task@version"));
        return switch (format) {
            case "delta" -> stored.file(version);
            case "oci" -> stored.image(version);
            default -> decoded(version, format.equals("merged"));
        };
    }

    private Response decoded(DeltaVersion version, boolean merged) {
        LlamaModel base = catalog.base(version.base());
        Arena arena = Arena.ofShared();
        try {
            LoadedDelta loaded = deltas.load(version, base.fingerprint(), base, arena);
            if (merged) {
                return StoredFiles.streamed(arena, version, ".tar", StoredFiles.TAR,
                        new MergedExport(base, loaded.blocks(), loaded.tensors(), MergedExport.SHARD_BYTES)::write).build();
            }
            return StoredFiles.streamed(arena, version, ".dense.safetensors", MediaType.APPLICATION_OCTET_STREAM,
                    out -> DenseExport.write(version.manifest(), loaded.blocks(), loaded.tensors(), out))
                    .header("Content-Length", DenseExport.bytes(version.manifest(), loaded.blocks(), loaded.tensors())).build();
        } catch (RuntimeException | Error failure) {
            arena.close();
            throw failure;
        }
    }

    @POST
    @Path("/import")
    @Allowed(Role.OWNER)
    @Changes("delta.import")
    @Consumes({MediaType.APPLICATION_OCTET_STREAM, StoredFiles.TAR})
    @Operation(summary = "A delta's own file, or an OCI artifact of one, as the next version of a task; validated whole before it is stored")
    public Imported importFile(@QueryParam("format") @DefaultValue("delta") String format, @QueryParam("model") String model,
            InputStream body) throws IOException {
        if (!format.equals("delta") && !format.equals("oci")) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the format is '" + format + "'; it must be delta or oci");
        }
        try (Arena arena = Arena.ofShared()) {
            MemorySegment file = received(body, arena);
            MemorySegment delta = format.equals("oci") ? OciLayout.read(file, "the archive") : file;
            return publish(delta, format.equals("oci") ? "the archive's delta" : "the file", model, arena);
        } catch (Problem refused) {
            // Here a corrupt file is the caller's, not the store's.
            throw refused.code() == Problem.Code.CORRUPT_DELTA ? new Problem(Problem.Code.INVALID_REQUEST, refused.getMessage(), refused)
                    : refused;
        }
    }

    private Imported publish(MemorySegment delta, String label, String model, Arena arena) {
        DeltaManifest manifest = DeltaFile.manifest(delta, label);
        String[] asked = model == null || model.isBlank() ? new String[0] : model.split(":", 2);
        LlamaModel base = asked.length > 0 ? catalog.base(asked[0]) : baseOf(manifest, label);
        String task = asked.length > 1 ? asked[1] : manifest.task();
        DeltaFile.Decoded decoded = DeltaImport.decode(delta, label, base.fingerprint(), base, arena);
        DeltaManifest draft = DeltaManifest.draft(base.name(), base.fingerprint(), task, manifest.edge(), manifest.createdAt(),
                manifest.job(), manifest.hyperparameters(), manifest.dataDigest(), manifest.metrics(), manifest.code());
        DeltaVersion version = deltas.publish(caller.tenant(), base.name(), task, draft, decoded.blocks(), decoded.tensors(), base);
        return new Imported(version.model(), "delta", version.digest(), version.fileBytes(), version.manifest().values());
    }

    /** The base that the delta was made from, whatever it is called here. */
    private LlamaModel baseOf(DeltaManifest manifest, String label) {
        return catalog.names().stream().filter(name -> catalog.status(name) == ModelCatalog.Status.READY).map(catalog::base)
                .filter(base -> base.fingerprint().equals(manifest.baseFingerprint())).findFirst()
                .orElseThrow(() -> new Problem(Problem.Code.BASE_MISMATCH, label + " was trained on base " + manifest.baseFingerprint()
                        + ", which this server does not have; serve that base, then import again"));
    }

    /** The body, spooled to a file so that a slow client holds no memory, then copied: what is checked is what is used. */
    private MemorySegment received(InputStream body, Arena arena) throws IOException {
        Files.createDirectories(limits.folder());
        java.nio.file.Path spool = Files.createTempFile(limits.folder(), "import-", ".part");
        try {
            try (OutputStream out = Files.newOutputStream(spool)) {
                byte[] piece = new byte[1 << 16];
                long held = 0;
                for (int read = body.read(piece); read >= 0; read = body.read(piece)) {
                    held += read;
                    if (held > limits.maxBytes()) {
                        throw new Problem(Problem.Code.PAYLOAD_TOO_LARGE, "the file is larger than " + limits.maxBytes()
                                + " bytes; the server's operator can raise inlay.imports.max-bytes");
                    }
                    out.write(piece, 0, read);
                }
            }
            return FileBytes.read(spool, arena);
        } finally {
            Files.deleteIfExists(spool);
        }
    }
}
