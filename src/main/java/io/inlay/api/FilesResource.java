package io.inlay.api;

import io.inlay.Problem;
import io.inlay.access.Names;
import io.inlay.access.Role;
import io.inlay.jobs.TrainingFile;
import io.inlay.jobs.TrainingFiles;
import io.smallrye.common.annotation.RunOnVirtualThread;
import jakarta.ws.rs.Consumes;
import jakarta.ws.rs.DELETE;
import jakarta.ws.rs.GET;
import jakarta.ws.rs.POST;
import jakarta.ws.rs.Path;
import jakarta.ws.rs.PathParam;
import jakarta.ws.rs.Produces;
import jakarta.ws.rs.QueryParam;
import jakarta.ws.rs.core.MediaType;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.util.List;
import java.util.regex.Pattern;
import org.eclipse.microprofile.openapi.annotations.Operation;
import org.jboss.resteasy.reactive.RestForm;
import org.jboss.resteasy.reactive.multipart.FileUpload;

/** Training files. */
@Path("/v1/files")
@RunOnVirtualThread
public class FilesResource {

    private static final Pattern CONTROL = Pattern.compile("\\p{Cntrl}");

    private final TrainingFiles files;
    private final Caller caller;

    FilesResource(TrainingFiles files, Caller caller) {
        this.files = files;
        this.caller = caller;
    }

    @POST
    @Consumes(MediaType.MULTIPART_FORM_DATA)
    @Allowed(Role.OWNER)
    @Changes("file.upload")
    @Operation(summary = "Uploads JSONL for fine-tuning")
    public Wire.File upload(@RestForm("purpose") String purpose, @RestForm("file") FileUpload file) throws IOException {
        if (file == null) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the form has no field 'file'; send the JSONL in it");
        }
        if (!"fine-tune".equals(purpose)) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the form's field 'purpose' is " + (purpose == null ? "missing" : "'" + purpose + "'")
                    + "; it must be fine-tune");
        }
        try (InputStream content = Files.newInputStream(file.uploadedFile())) {
            String name = file.fileName() == null || file.fileName().isBlank() ? "upload.jsonl" : file.fileName();
            if (CONTROL.matcher(name).find()) {
                throw new Problem(Problem.Code.INVALID_REQUEST, "the file's name '" + Names.shown(name) + "' has a control character; rename it");
            }
            return view(files.add(caller.tenant(), name, purpose, content));
        }
    }

    @GET
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "The caller's files")
    public Wire.ListOf<Wire.File> list(@QueryParam("purpose") String purpose, @QueryParam("limit") Integer limit,
            @QueryParam("after") String after) {
        List<TrainingFile> all = files.list(caller.tenant()).stream().filter(file -> purpose == null || purpose.equals(file.purpose())).toList();
        return Paging.page(all, TrainingFile::id, limit, after, FilesResource::view);
    }

    @GET
    @Path("/{file}")
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "One file's facts")
    public Wire.File get(@PathParam("file") String id) {
        return view(find(id));
    }

    @GET
    @Path("/{file}/content")
    @Produces(MediaType.APPLICATION_OCTET_STREAM)
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "One file's content")
    public byte[] content(@PathParam("file") String id) {
        return files.content(find(id));
    }

    @DELETE
    @Path("/{file}")
    @Allowed(Role.OWNER)
    @Changes("file.delete")
    @Operation(summary = "Deletes a file")
    public Wire.Deleted delete(@PathParam("file") String id) {
        return new Wire.Deleted(find(id).id(), "file", files.delete(caller.tenant(), id));
    }

    private TrainingFile find(String id) {
        return files.find(caller.tenant(), id).orElseThrow(() -> new Problem(Problem.Code.NOT_FOUND, "there is no file '" + id
                + "'; GET /v1/files lists yours"));
    }

    private static Wire.File view(TrainingFile file) {
        return new Wire.File(file.id(), "file", file.bytes(), file.createdAt().getEpochSecond(), file.name(), file.purpose(), "processed");
    }
}
