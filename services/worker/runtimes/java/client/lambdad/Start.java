package lambdad;

import com.amazonaws.services.lambda.runtime.serialization.factories.JacksonFactory;
import java.io.ByteArrayInputStream;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.util.Map;

/** What the worker says, once: frames as in services/worker/sandbox/protocol.py, then a byte when the code is there. */
final class Start {
    private static final int STREAM_FD = 3;
    private static final int GO_FD = 4;
    private static final int HEADER_BYTES = 5;
    private static final int FRAME_BYTES_MAX = 7 * 1024 * 1024;
    private static final byte START = 1;
    private static final byte PREPARED = 16;
    private static final int MISUSED = 70;

    private Start() {}

    /** Blocks until there is a function: its variables. */
    @SuppressWarnings("unchecked")
    static Map<String, String> await() throws IOException, ReflectiveOperationException {
        FileDescriptor stream = descriptor(STREAM_FD);
        new FileOutputStream(stream).write(new byte[] {0, 0, 0, 0, PREPARED});
        try (InputStream worker = new FileInputStream(stream);
                InputStream go = new FileInputStream(descriptor(GO_FD))) {
            ByteBuffer header = ByteBuffer.wrap(read(worker, HEADER_BYTES));
            int length = header.getInt();
            if (header.get() != START || length > FRAME_BYTES_MAX) {
                System.exit(MISUSED);
            }
            Map<String, Object> start = (Map<String, Object>) parse(read(worker, length));
            read(go, 1);
            return (Map<String, String>) start.get("environment");
        }
    }

    static Object parse(byte[] json) {
        return JacksonFactory.getInstance().getSerializer(Map.class).fromJson(new ByteArrayInputStream(json));
    }

    private static byte[] read(InputStream from, int length) throws IOException {
        byte[] bytes = new byte[length];
        for (int at = 0; at < length; ) {
            int count = from.read(bytes, at, length - at);
            if (count < 0) {
                System.exit(0); // The worker hung up.
            }
            at += count;
        }
        return bytes;
    }

    private static FileDescriptor descriptor(int number) throws ReflectiveOperationException {
        FileDescriptor descriptor = new FileDescriptor();
        long offset = Memory.UNSAFE.objectFieldOffset(FileDescriptor.class.getDeclaredField("fd"));
        Memory.UNSAFE.putInt(descriptor, offset, number);
        return descriptor;
    }
}
