package io.inlay.store;

import java.nio.file.Path;
import java.time.Duration;

class RegistryOnH2Test extends RegistryContract {

    @Override
    DeltaRegistry registry(Path folder, Quota quota, Duration lease) {
        return new DeltaRegistry(Blobs.folder(folder), Stores.database(folder.toString()), quota, lease);
    }
}
