package io.inlay.store;

import java.io.BufferedReader;
import java.io.File;
import java.net.URI;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Properties;
import java.util.stream.Collectors;
import org.gaul.s3proxy.AuthenticationType;
import org.gaul.s3proxy.S3Proxy;
import org.jclouds.ContextBuilder;
import org.jclouds.blobstore.BlobStoreContext;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.checksums.RequestChecksumCalculation;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.s3.S3Client;

/** S3 over a folder: s3proxy on a free port, in a process of its own, since it needs another Guice than Quarkus's tests have. */
public final class S3Server implements AutoCloseable {

    public static final String IDENTITY = "identity";
    public static final String CREDENTIAL = "credential";

    private final Process process;
    private final S3Client client;
    private final URI endpoint;

    public S3Server(Path folder) throws Exception {
        String classPath = Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
                .filter(entry -> !entry.endsWith("-classes.jar")).collect(Collectors.joining(File.pathSeparator));
        process = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-Xmx256m", "-cp", classPath,
                Proxy.class.getName(), folder.toString()).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        BufferedReader lines = process.inputReader();
        String line = lines.readLine();
        while (line != null && !line.startsWith("port ")) {
            line = lines.readLine();
        }
        if (line == null) {
            throw new IllegalStateException("s3proxy did not start; its errors are above");
        }
        endpoint = URI.create("http://127.0.0.1:" + line.substring(5));
        client = S3Client.builder().region(Region.US_EAST_1).endpointOverride(endpoint)
                .forcePathStyle(true)
                .requestChecksumCalculation(RequestChecksumCalculation.WHEN_REQUIRED).httpClient(UrlConnectionHttpClient.create())
                .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create(IDENTITY, CREDENTIAL))).build();
    }

    public S3Client client() {
        return client;
    }

    public URI endpoint() {
        return endpoint;
    }

    @Override
    public void close() throws Exception {
        client.close();
        process.destroyForcibly().waitFor();
    }

    /** The process's main; it ends when its standard input does. */
    static final class Proxy {

        private Proxy() {
        }

        public static void main(String[] arguments) throws Exception {
            Properties properties = new Properties();
            properties.setProperty("jclouds.filesystem.basedir", arguments[0]);
            BlobStoreContext context = ContextBuilder.newBuilder("filesystem-nio2").credentials(IDENTITY, CREDENTIAL).overrides(properties)
                    .build(BlobStoreContext.class);
            S3Proxy proxy = S3Proxy.builder().blobStore(context.getBlobStore()).endpoint(URI.create("http://127.0.0.1:0"))
                    .awsAuthentication(AuthenticationType.AWS_V2_OR_V4, IDENTITY, CREDENTIAL).build();
            proxy.start();
            while (!proxy.getState().equals("STARTED")) {
                Thread.sleep(10);
            }
            System.out.println("port " + proxy.getPort());
            System.out.flush();
            while (System.in.read() >= 0) {
                Thread.onSpinWait();
            }
            System.exit(0);
        }
    }
}
