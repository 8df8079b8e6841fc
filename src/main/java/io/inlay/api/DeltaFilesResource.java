package io.inlay.api;

import io.inlay.Problem;
import io.inlay.access.Role;
import io.inlay.delta.DeltaFile;
import io.inlay.delta.DeltaManifest;
import io.inlay.generation.ModelCatalog;
import io.inlay.model.LlamaModel;
import io.inlay.store.DeltaRegistry;
import io.smallrye.common.annotation.RunOnVirtualThread;
import jakarta.ws.rs.Consumes;
import jakarta.ws.rs.GET;
import jakarta.ws.rs.POST;
import jakarta.ws.rs.Path;
import jakarta.ws.rs.PathParam;
import jakarta.ws.rs.Produces;
import jakarta.ws.rs.core.MediaType;
import jakarta.ws.rs.core.Response;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.StandardOpenOption;
import org.eclipse.microprofile.openapi.annotations.Operation;
import org.jboss.resteasy.reactive.RestForm;
import org.jboss.resteasy.reactive.multipart.FileUpload;

/** Versions as files: taken out, and brought in. */
@Path("/v1/deltas")
@RunOnVirtualThread
public class DeltaFilesResource {

    private final DeltaRegistry deltas;
    private final ModelCatalog catalog;
    private final StoredFiles stored;
    private final DeltaViews views;
    private final Caller caller;
    private final UploadLimits limits;

    DeltaFilesResource(DeltaRegistry deltas, ModelCatalog catalog, StoredFiles stored, DeltaViews views, Caller caller,
            UploadLimits limits) {
        this.deltas = deltas;
        this.catalog = catalog;
        this.stored = stored;
        this.views = views;
        this.caller = caller;
        this.limits = limits;
    }

    @GET
    @Path("/{delta}/content")
    @Allowed({Role.OWNER, Role.READER})
    @Produces(MediaType.APPLICATION_OCTET_STREAM)
    @Operation(summary = "A version's file, the very bytes that are stored")
    public Response content(@PathParam("delta") String name) {
        return stored.file(deltas.resolve(caller.tenant(), name));
    }

    @POST
    @Allowed(Role.OWNER)
    @Changes("delta.upload")
    @Consumes(MediaType.MULTIPART_FORM_DATA)
    @Operation(summary = "Makes a file of a version, taken out of this or another server, the next version of its task")
    public DeltaWire.Delta upload(@RestForm("file") FileUpload file, @RestForm("task") String task) throws IOException {
        if (file == null) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the form has no field 'file'; send the version's safetensors in it");
        }
        if (file.size() > limits.maxBytes()) {
            throw new Problem(Problem.Code.PAYLOAD_TOO_LARGE, "the file has " + file.size() + " bytes; at most " + limits.maxBytes()
                    + " are taken (inlay.deltas.max-upload-bytes)");
        }
        try (Arena arena = Arena.ofShared(); FileChannel channel = FileChannel.open(file.uploadedFile(), StandardOpenOption.READ)) {
            MemorySegment bytes = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
            String label = "the uploaded file";
            DeltaManifest manifest = DeltaFile.manifest(bytes, label);
            LlamaModel base = catalog.base(String.valueOf(manifest.base()));
            return views.delta(deltas.bring(caller.tenant(), base.name(), task == null ? manifest.task() : task, bytes, label, base.fingerprint(),
                    base));
        } catch (Problem damaged) {
            // What is stored and damaged is the server's fault; what is sent damaged is the sender's.
            throw damaged.code() == Problem.Code.CORRUPT_DELTA
                    ? new Problem(Problem.Code.INVALID_REQUEST, damaged.getMessage(), damaged) : damaged;
        }
    }
}
