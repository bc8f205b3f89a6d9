package example;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/** Handlers that take memory of one kind until there is none left. */
public class Memory {
    private static final int MEGABYTE = 1 << 20;

    public Object heap(boolean all) {
        List<byte[]> kept = new ArrayList<>();
        while (all) {
            kept.add(new byte[MEGABYTE]);
        }
        return "spared";
    }

    public Object direct(boolean all) {
        List<ByteBuffer> kept = new ArrayList<>();
        while (all) {
            kept.add(ByteBuffer.allocateDirect(MEGABYTE));
        }
        return "spared";
    }

    /** The same class again and again, each by a loader of its own. */
    public Object classes(boolean all) throws IOException {
        byte[] bytes;
        try (InputStream file = Memory.class.getResourceAsStream("Memory.class")) {
            bytes = file.readAllBytes();
        }
        List<Class<?>> kept = new ArrayList<>();
        while (all) {
            kept.add(new Loader().define(bytes));
        }
        return "spared";
    }

    private static final class Loader extends ClassLoader {
        Class<?> define(byte[] bytes) {
            return defineClass("example.Memory", bytes, 0, bytes.length);
        }
    }
}
